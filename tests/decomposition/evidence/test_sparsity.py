"""L0 and alive by hand."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.evidence.texts import LENGTHS, evidence_text

from rankone.decomposition.evidence.sparsity import sparsity


def test_l0_and_alive_by_hand():
    text = evidence_text()
    sites, counts = text.model.decomposition.sites, text.model.decomposition.counts
    assert counts == [8, 8, 8, 8, 12, 12]
    positions = sum(LENGTHS)
    g = torch.zeros_like(text.importance)
    g[0, 0, 0] = g[2, 5, 0] = 0.5  # fires at two positions
    g[0, 1, 1] = 1e-8  # fires once, but its mean importance is below 1e-6
    g[..., 9] = 1.0  # fires everywhere, in the second site
    g[3, 4, 10] = 1.0  # only on padding
    g[4, 3, 55] = 0.3  # the last one, in the last site
    text.importance = g
    found = sparsity(text, {s: 100 for s in sites})
    assert found.l0_total == pytest.approx((2 + 1 + positions + 1) / positions)
    assert found.alive_total == 3
    assert (found.kept, found.subcomponents) == (56, 600)
    per_site = {row.site: row for row in found.per_site}
    assert [per_site[s].alive for s in sites] == [1, 1, 0, 0, 0, 1]
    assert [per_site[s].kept for s in sites] == counts
    assert per_site[sites[0]].l0 == pytest.approx(3 / positions)
    assert per_site[sites[1]].l0 == pytest.approx(1.0)
    (layer,) = found.per_layer
    assert (layer.layer, layer.alive, layer.subcomponents) == ("0", 3, 600)
    assert layer.l0 == pytest.approx(found.l0_total)
    assert sparsity(text).subcomponents == 56
