"""Scores against plain loops."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.evidence.texts import LONGEST, approximately, by_name, evidence_text, plain_scores

from rankone.decomposition.evidence import attack
from rankone.decomposition.evidence import text as module
from rankone.decomposition.evidence.maskings import masking_rows


def test_scores_are_means_over_scored_tokens_and_real_positions():
    text = evidence_text("random")
    mask = torch.rand(text.importance.shape)
    delta = torch.rand(5, LONGEST, len(text.model.decomposition.sites))
    found = text.measure(lambda rows: (mask[rows], delta[rows]))
    with torch.no_grad():
        logits = text.model.masked(text.ids, mask, delta)
    assert found.model_dump() == approximately(plain_scores(text, logits))


def test_rows_are_measured_in_parts_with_the_same_result(monkeypatch):
    text = evidence_text("random")
    source = torch.rand(text.importance.shape[-1])
    whole = by_name(masking_rows(text)), attack._source_gradient(text, source, False)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 2)
    text = evidence_text("random")
    assert len(text.parts()) == 3
    parts = by_name(masking_rows(text)), attack._source_gradient(text, source, False)
    for name, row in whole[0].items():
        if name[0] not in ("stochastic", "random"):  # drawn part by part
            assert row.kl == pytest.approx(parts[0][name].kl, rel=1e-4, abs=1e-6), name
            assert row.ce == pytest.approx(parts[0][name].ce, rel=1e-4), name
    torch.testing.assert_close(whole[1], parts[1], rtol=0.05, atol=1e-4)


def test_sites_that_are_not_routed_run_plain_weights():
    text = evidence_text("random")
    sites = len(text.model.decomposition.sites)
    nothing = torch.zeros(1, 1, text.importance.shape[-1])
    none = text.measure(lambda rows: (nothing, None), torch.zeros(sites, dtype=torch.bool))
    assert none.kl < 1e-6
    every = text.measure(lambda rows: (nothing, None), torch.ones(sites, dtype=torch.bool))
    assert every.kl == pytest.approx(text.measure(lambda rows: (nothing, None)).kl)
    one = torch.arange(sites) == 2
    found = text.measure(lambda rows: (nothing, None), one)
    with torch.no_grad():
        logits = text.model.masked(text.ids, nothing, None, one.float().expand(5, LONGEST, -1))
    assert found.model_dump() == approximately(plain_scores(text, logits))


def test_thinned_text_is_every_nth_row():
    text = evidence_text("random")
    part = text.thinned(int(text.present.sum()) // 2)
    assert torch.equal(part.ids, text.ids[::2])
    assert torch.equal(part.importance, text.importance[::2])
    assert len(part.clean) == 3
    assert torch.equal(text.thinned(10_000).ids, text.ids)
    assert len(text.thinned(1).ids) == 1


def test_signs_weigh_positions_by_importance():
    text = evidence_text("random")
    decomposition = text.model.decomposition
    _, inputs = text.model.clean(text.ids)
    at = 0
    for site, x in zip(decomposition.sites, inputs, strict=True):
        activation = x @ decomposition.factors(site)[0]
        for c in (0, activation.shape[-1] - 1):
            g, a = text.importance[..., at + c][text.present], activation[..., c][text.present]
            expected = torch.stack((g[a > 0].sum(), g[a <= 0].sum()))
            torch.testing.assert_close(text.signs[:, at + c], expected)
        at += activation.shape[-1]
    torch.testing.assert_close(text.signs.sum(0), text.importance[text.present].sum(0))
