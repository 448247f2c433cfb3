"""Every masking is what its name says."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.evidence.texts import approximately, by_name, evidence_text, plain_scores

from rankone.decomposition.evidence.maskings import masking_rows, with_unrecovered
from rankone.decomposition.evidence.records import MaskingRow


def score(row):
    return {"ce": row.ce, "kl": row.kl}


def test_each_masking_is_what_its_name_says():
    text = evidence_text()
    text.importance = torch.rand(text.importance.shape).sub(0.3).clamp(min=0)
    g, rows = text.importance, by_name(masking_rows(text))
    masks = {
        "unmasked": torch.ones_like(g),
        "CI as mask": g,
        "rounded > 0": (g > 0).float(),
        "rounded > 0.1": (g > 0.1).float(),
        "rounded > 0.5": (g > 0.5).float(),
        "zero": torch.zeros_like(g),
    }
    for name, mask in masks.items():
        with torch.no_grad():
            expected = plain_scores(text, text.model.masked(text.ids, mask))
        assert score(rows[name, False]) == approximately(expected), name
    clean = score(rows["target", None])
    assert clean == approximately({**plain_scores(text, text.clean), "kl": 0.0})
    assert [delta for name, delta in rows if name == "random"] == [False, True]
    for name, mask in masks.items():
        with torch.no_grad():
            expected = plain_scores(text, text.model.masked(text.ids, mask, torch.ones(1, 1, 6)))
        assert score(rows[name, True]) == approximately(expected), name
    assert len(rows) == 1 + 2 * (len(masks) + 2)


def test_an_aligned_start_is_exact_unmasked_and_worst_with_nothing():
    text = evidence_text()
    text.importance = torch.full_like(text.importance, 0.8)
    rows = by_name(masking_rows(text))
    assert rows["unmasked", False].kl < 1e-6
    assert rows["unmasked", False].ce == pytest.approx(rows["target", None].ce, abs=1e-4)
    zero = rows.pop(("zero", False)).kl
    nearer = [row.kl for name, row in rows.items() if name[0] not in ("random", "zero")]
    assert max(nearer) < 0.5 * zero


def test_delta_on_carries_what_the_factors_lack():
    """With factors far from W, a stochastic delta is nearer than none."""
    rows = by_name(masking_rows(evidence_text("random")))
    assert rows["unmasked", False].kl > 0.01
    assert rows["unmasked", True].kl < 1e-6
    assert rows["stochastic", True].kl != rows["stochastic", False].kl


def test_random_masks_ignore_the_importance():
    """With every importance at one, a stochastic mask is all on and a random one is not."""
    text = evidence_text()
    text.importance = torch.ones_like(text.importance)
    rows = by_name(masking_rows(text))
    assert rows["stochastic", False].kl < 1e-6
    assert rows["random", False].kl > 1e-3


def test_unrecovered_is_the_share_of_what_zero_ablation_costs():
    def row(masking, delta, ce):
        return MaskingRow(masking=masking, delta=delta, ce=ce, kl=0.0)

    rows = [
        row("target", None, 2.0),
        row("ci", False, 2.5),
        row("zero", False, 4.0),
        row("zero", True, 1.0),
    ]
    assert [r.ce_unrecovered for r in with_unrecovered(rows)] == [0.0, 0.25, 1.0, -0.5]
    harmless = [row("target", None, 2.0), row("zero", False, 2.0)]
    assert [r.ce_unrecovered for r in with_unrecovered(harmless)] == [None, None]
