"""The description length by hand, and ΔL as the difference of two lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clustering.planted import length_by_definition, random_fires

from rankone.clustering.description import cost, description_length, fixed_cost


def test_length_by_hand():
    """Three groups with 4, 2 and 1 firings of 1, 2 and 3 members; ρ = 10."""
    sizes, members = np.array([4, 2, 1]), np.array([1, 2, 3])
    assert description_length(sizes, members, 10) == pytest.approx(7 * math.log2(3) + 10 * (4 + 4 + 3))
    assert description_length(sizes[:1], members[2:], 10) == 120


def change(fires, group, i, j, rank_penalty):
    """ΔL by the formula from the statistics of groups i and j."""
    own, other = (fires[:, group == g].any(1) for g in (i, j))
    ranks = tuple((group == g).sum() for g in (i, j))
    joint = int((own & other).sum())
    names = np.unique(group)
    total = sum(int(fires[:, group == g].any(1).sum()) for g in names)
    fixed = fixed_cost((own.sum(), other.sum()), ranks, joint, rank_penalty)
    shared = total * math.log2((len(names) - 1) / len(names))
    return shared + cost(float(fixed), joint, len(names))


@given(st.integers(0, 10**6), st.integers(2, 9), st.floats(0, 20))
def test_the_change_is_the_difference_of_lengths(seed, groups, rank_penalty):
    rng = np.random.default_rng(seed)
    fires = random_fires(rng, 40, 12)
    group = np.concatenate((np.arange(groups), rng.integers(0, groups, 12 - groups)))
    i, j = rng.choice(groups, 2, replace=False)
    before = length_by_definition(fires, group, rank_penalty)
    after = length_by_definition(fires, np.where(group == j, i, group), rank_penalty)
    assert change(fires, group, i, j, rank_penalty) == pytest.approx(after - before, abs=1e-9 * before)


@pytest.mark.parametrize(("overlap", "merges"), [(0.5, False), (0.7, True)])
def test_two_of_equal_frequency_merge_when_they_overlap_enough(overlap, merges):
    """The published rule of thumb: ρ < co / (1 − co) · ½ log2 k, here 10 against 5.8 and 13.5 bits at k = 3,000."""
    joint, size = 1000 * overlap, 1000
    fixed = float(fixed_cost((size, size), (1, 1), joint, 10))
    assert (overlap / (1 - overlap) * 0.5 * math.log2(3000) > 10) == merges
    assert (cost(fixed, joint, 3000) < 0) == merges
