"""Subset routing: k uniform in 1..M, then every k-subset equally likely."""

from __future__ import annotations

import itertools

import pytest
import torch

from rankone.decomposition.masking.numbers import Generated
from rankone.decomposition.masking.routing import ROUTINGS, uniform_k_subset

SITES = 5


def numbers(rows):
    return Generated(torch.Generator().manual_seed(0), rows)


@pytest.fixture(scope="module")
def drawn():
    return uniform_k_subset(numbers(100), 200, SITES).flatten(0, 1)


def close_to_uniform(counts):
    """Whether every count is within five standard deviations of its share."""
    expected = sum(counts) / len(counts)
    return all(abs(c - expected) < 5 * expected**0.5 for c in counts)


def test_shape_and_type():
    chosen = uniform_k_subset(numbers(3), 4, SITES)
    assert chosen.shape == (3, 4, SITES)
    assert chosen.dtype == torch.bool


def test_k_is_uniform_from_one_to_all(drawn):
    counts = torch.bincount(drawn.sum(1), minlength=SITES + 1).tolist()
    assert counts[0] == 0
    assert len(counts) == SITES + 1
    assert close_to_uniform(counts[1:])


def test_every_site_is_equally_likely(drawn):
    assert close_to_uniform(drawn.sum(0).tolist())
    # E k / M = (M + 1) / 2M
    assert drawn.float().mean().item() == pytest.approx((SITES + 1) / (2 * SITES), abs=0.01)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_every_subset_of_a_size_is_equally_likely(drawn, k):
    of_size = drawn[drawn.sum(1) == k]
    counts = []
    for subset in itertools.combinations(range(SITES), k):
        wanted = torch.zeros(SITES, dtype=torch.bool)
        wanted[list(subset)] = True
        counts.append(int((of_size == wanted).all(1).sum()))
    assert sum(counts) == len(of_size)
    assert close_to_uniform(counts)


def test_positions_are_drawn_one_by_one(drawn):
    assert len(drawn[:200].unique(dim=0)) > 20


def test_one_site_is_always_masked():
    assert uniform_k_subset(numbers(4), 5, 1).all()


def test_the_generator_decides():
    first, again = (uniform_k_subset(numbers(4), 5, 6) for _ in range(2))
    assert torch.equal(first, again)


def test_all_masks_every_site():
    assert ROUTINGS["all"](numbers(3), 4, SITES).all()


def test_mixed_is_all_or_a_subset_by_row():
    chosen = ROUTINGS["mixed"](numbers(400), 6, SITES)
    whole = chosen.flatten(1).all(1)
    assert 150 <= whole.sum() <= 250
    assert close_to_uniform(torch.bincount(chosen[~whole].flatten(0, 1).sum(1))[1:].tolist())


def test_layerwise_is_one_uniform_site_per_row():
    chosen = ROUTINGS["layerwise"](numbers(2000), 3, SITES)
    assert (chosen.sum(-1) == 1).all()
    assert (chosen == chosen[:, :1]).all()
    assert close_to_uniform(chosen[:, 0].sum(0).tolist())
