"""Intervals over passages beside SciPy's bootstrap, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap

from rankone.metrics.bootstrap import joined, percentile_interval, resampled


@pytest.fixture
def text():
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(5, 60, (24,), generator=generator)
    return tokens, tokens * (0.4 + 0.3 * torch.randn(2, 24, generator=generator, dtype=torch.float64))


def test_the_interval_is_scipys(text):
    tokens, sums = text
    low, high = percentile_interval(resampled(sums, tokens, draws=20_000)[:, 1])

    def ratio(total, count, axis):
        return total.sum(axis) / count.sum(axis)

    found = bootstrap(
        (sums[1].numpy(), tokens.double().numpy()),
        ratio,
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="percentile",
        random_state=np.random.default_rng(0),
    ).confidence_interval
    assert (low, high) == pytest.approx((found.low, found.high), abs=0.006)


def test_runs_share_the_draws_and_other_seeds_have_others(text):
    tokens, sums = text
    both = resampled(sums, tokens, seed=5)
    assert torch.allclose(both[:, :1], resampled(sums[:1], tokens, seed=5))
    assert torch.allclose(resampled(2 * sums, tokens, seed=5), 2 * both)
    assert not torch.equal(both, resampled(sums, tokens, seed=6))


def test_one_passage_says_nothing_of_others():
    assert set(resampled(torch.tensor([[3.0]]), torch.tensor([2])).flatten().tolist()) == {1.5}


def test_draws_without_a_scored_token_are_left_out_and_a_nan_is_not_hidden():
    """Of two passages one has tokens: a quarter of the draws have none of them."""
    drawn = resampled(torch.tensor([[30.0, 0.0]]), torch.tensor([10, 0]))
    assert 0.2 < float(drawn.isnan().double().mean()) < 0.3
    assert percentile_interval(drawn[:, 0]) == (3.0, 3.0)
    nowhere = percentile_interval(torch.full((5,), math.nan))
    assert all(map(math.isnan, (*nowhere, *joined(1.0, (0.5, 1.5), nowhere))))


def test_intervals_are_joined_by_hand():
    assert joined(1.0, (0.7, 1.3), (0.6, 1.4)) == pytest.approx((0.5, 1.5))
    assert joined(1.0, (0.7, 1.0), (1.0, 1.4)) == pytest.approx((0.7, 1.4))
    assert joined(1.0, (0.7, 1.3), (None, None)) == (None, None)
    low, high = joined(0.0, (-0.1, 0.2), (-0.1, 0.2))
    assert (low, high) == pytest.approx((-0.1 * math.sqrt(2), 0.2 * math.sqrt(2)))
