"""Counts above thresholds and likely tokens against brute force."""

from __future__ import annotations

import pytest
import torch

from rankone.harvest.counting.collect import counts_above, likely_tokens
from rankone.harvest.counting.firings import firings
from rankone.harvest.counting.sparse import units


def test_counts_above_thresholds_in_any_order():
    generator = torch.Generator().manual_seed(0)
    importance = (torch.rand(3, 8, 5, generator=generator) * 1.4 - 0.3).mul(10).round().div(10)
    valid = torch.rand(3, 8, generator=generator) < 0.8
    inside = importance.clamp(0, 1)[valid]
    thresholds = (0.5, 0.0, 0.1)
    found = counts_above(firings(importance, valid), thresholds, 5)
    assert found.tolist() == [(inside > t).sum(0).tolist() for t in thresholds]


@pytest.mark.parametrize(
    "spread", [0.1, 1.0, 6.0], ids=["flat: more than top are likely", "between", "peaked"]
)
@pytest.mark.parametrize("least", [0.0, 0.01, 0.3])
def test_likely_tokens_are_the_best_of_at_least_the_probability(spread, least):
    """As a plain sort of the softmax gives them, whichever way they are found."""
    logits = torch.randn(9, 40, generator=torch.Generator().manual_seed(3)) * spread
    found = likely_tokens(logits, 5, least)
    probability = logits.softmax(1)
    for row, (first, length) in enumerate(zip(found.first.tolist(), found.length.tolist(), strict=True)):
        own = slice(first, first + length)
        best = probability[row].argsort(descending=True)[:5].tolist()
        wanted = {t: probability[row, t].item() for t in best if probability[row, t] >= least}
        told = dict(zip(found.column[own].tolist(), found.weight[own].tolist(), strict=True))
        assert told.keys() == wanted.keys()
        for token, weight in told.items():
            assert weight == pytest.approx(units(torch.tensor(wanted[token])).item(), rel=1e-5, abs=1)


def test_nothing_fires_where_importance_is_zero():
    importance = torch.tensor([[[0.0, 0.5], [0.0, 0.0], [1.5, -1.0]]])
    fired = firings(importance, torch.tensor([[True, True, True]]))
    assert (fired.position.tolist(), fired.part.tolist()) == ([0, 2], [1, 0])
    assert fired.importance.tolist() == [0.5, 1.0]
