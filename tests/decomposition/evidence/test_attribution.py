"""Where error arises, against plain forwards."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.evidence.texts import LONGEST, evidence_text, plain_scores

from rankone.decomposition.evidence.attribution import (
    adversary_by_group,
    attacks,
    hidden_errors,
    masked_alone,
)
from rankone.decomposition.evidence.records import Grouping


def broken_at(index):
    """All importances one but those of one site: zero."""
    text = evidence_text()
    counts = text.model.decomposition.counts
    text.importance = torch.ones_like(text.importance)
    text.importance.split(counts, -1)[index].zero_()
    return text, text.model.decomposition.sites


def test_only_the_broken_site_is_to_blame():
    text, sites = broken_at(4)
    rows = masked_alone(text)
    kl = {row.group: row.kl for row in rows if row.by == Grouping.SITE}
    assert list(kl) == sites
    with torch.no_grad():
        expected = plain_scores(text, text.model.masked(text.ids, text.importance))["kl"]
    assert kl[sites[4]] == pytest.approx(expected, rel=1e-3)
    assert expected > 0.01
    assert max(v for s, v in kl.items() if s != sites[4]) < 1e-6
    assert [(row.group, row.kl) for row in rows if row.by == Grouping.LAYER] == [
        ("0", pytest.approx(expected, rel=1e-3))
    ]
    kinds = {row.group: row.kl for row in rows if row.by == Grouping.KIND}
    assert max(kinds, key=lambda kind: kinds[kind]) == sites[4].removeprefix("h.0.")


def test_the_adversary_finds_the_group_that_yields():
    text, sites = broken_at(4)
    found = adversary_by_group(text, 3)
    kl = {row.group: row.kl for row in found.groups}
    assert len(kl) + 1 == attacks(sites) == 8
    yielding = sites[4].removeprefix("h.0.")
    assert kl[yielding] > 1e-3
    assert kl["0"] == pytest.approx(kl[yielding], rel=0.05)
    assert all(value < 1e-6 for group, value in kl.items() if group not in ("0", yielding))
    assert found.steps == 3


def test_hidden_errors_are_those_of_the_site_outputs():
    text = evidence_text("random")
    text.importance = torch.rand(text.importance.shape)
    model = text.model
    _, inputs = model.clean(text.ids)
    clean = model.outputs(inputs)
    outputs = {}
    with torch.no_grad():
        model.masked(text.ids, text.importance, outputs=outputs)
    masked = [outputs[site] for site in model.decomposition.sites]
    for row, a, b in zip(hidden_errors(text), clean, masked, strict=True):
        error = (a - b)[text.present].square().mean().item()
        assert row.ci == pytest.approx(error, rel=1e-4), row.site
        assert row.ci_share == pytest.approx(error / a[text.present].square().mean().item(), rel=1e-4)
        assert row.stochastic > 0


def test_with_everything_on_no_output_moves():
    text = evidence_text()
    text.importance = torch.ones(5, LONGEST, text.importance.shape[-1])
    assert all(row.ci_share < 1e-8 and row.stochastic_share < 1e-8 for row in hidden_errors(text))
