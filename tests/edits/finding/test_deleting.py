"""Deletion sets: on a model of three tokens by hand, and that the tolerance holds and the model is left as it was."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import probe, same, simple_mlp, snapshot

from rankone.core.errors import RankOneError
from rankone.edits.finding import deleting
from rankone.edits.finding.deleting import deletion
from rankone.metrics.cross_entropy import cross_entropies
from rankone.models.sites import find_sites
from rankone.parts.sources import make_parts
from rankone.text.blocks import Blocks


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(deleting, "MEASURED", 6)


def text(model):
    """Rows that the model itself finds likely, so that deleting anything costs something."""
    rows = {}
    for i, domain in enumerate(("de", "en", "fr")):
        ids = probe(4, 12) if i == 0 else torch.roll(probe(4, 12), i, dims=1)
        rows[domain] = Blocks(ids, torch.ones_like(ids, dtype=torch.bool))
    del model
    return rows


def rounds(count, seen):
    """Told each set; ends after `count` rounds."""
    return lambda found: not seen.append(found) and len(seen) < count


def pool(model):
    sites = find_sites(model, ["h.1.mlp.*"])
    return [
        make_parts("neuron", sites),
        make_parts("random", find_sites(model, ["h.1.attn.o_proj"]), count=4),
    ]


@pytest.mark.parametrize("tolerance", [0.002, 0.05])
def test_the_tolerance_holds_and_the_edit_does_what_is_said(tolerance):
    model = simple_mlp()
    before, rows, seen = snapshot(model), text(model), []
    found = deletion(model, pool(model), "de", rows, rows, tolerance, going=rounds(3, seen))
    assert same(model, before)
    assert all(rise <= tolerance for d, rise in found.rises.items() if d != "de")
    assert found.rises["de"] > 0
    assert len(set(found.names)) == len(found.names) > 0
    assert [d.rises["de"] for d in seen] == sorted(d.rises["de"] for d in seen)
    base = cross_entropies(model, rows)
    with found.edit.applied(model):
        after = cross_entropies(model, rows)
    for domain, rise in found.rises.items():
        assert after[domain] - base[domain] == pytest.approx(rise, abs=1e-5)


def test_more_tolerance_removes_more():
    model = simple_mlp()
    rows = text(model)
    small, large = (
        deletion(model, pool(model), "de", rows, rows, t, going=rounds(2, [])) for t in (0.002, 0.1)
    )
    assert large.rises["de"] > small.rises["de"]


def test_it_ends_where_it_is_told_to():
    model = simple_mlp()
    rows = text(model)
    first = deletion(model, pool(model), "de", rows, rows, 0.05, going=lambda _: False)
    assert len(first.names) <= 3


def test_text_of_one_domain_is_refused():
    model = simple_mlp()
    rows = {"de": text(model)["de"]}
    with pytest.raises(RankOneError, match="deletion needs text of 'de' and of other domains"):
        deletion(model, pool(model), "de", rows, rows, 0.05)
