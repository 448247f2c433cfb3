"""Partition distances by hand and by counting pairs."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankone.clustering.distance import distance
from rankone.core.errors import RankOneError


def lists(labels, names=None):
    """A labelling as lists of names."""
    names = names or [f"s{i}" for i in range(len(labels))]
    return [[n for n, own in zip(names, labels, strict=True) if own == g] for g in sorted(set(labels))]


def test_by_hand():
    """{a b}{c d} against {a b c}{d}: n_ab = 2, 1, 1."""
    found = distance([["a", "b"], ["c", "d"]], [["a", "b", "c"], ["d"]])
    expected = -(2 * math.log2(2 / 3) + math.log2(1 / 2) + math.log2(1 / 3) + math.log2(1 / 2)) / 4
    assert found.variation == pytest.approx(expected)
    assert found.normalised == pytest.approx(expected / 2)
    assert found.rand == pytest.approx((1 - 1) / ((2 + 3) / 2 - 1))
    assert [(m.first, m.second, m.jaccard) for m in found.matches] == [(0, 0, 2 / 3), (1, 1, 1 / 2)]
    assert found.mean_jaccard == pytest.approx(7 / 12)
    assert found.recovered == 0.5


def rand_by_pairs(a, b):
    """The adjusted Rand index from all pairs of things."""
    pairs = list(combinations(range(len(a)), 2))
    own, other = ([x[i] == x[j] for i, j in pairs] for x in (a, b))
    joint = sum(x and y for x, y in zip(own, other, strict=True))
    expected = sum(own) * sum(other) / len(pairs)
    largest = (sum(own) + sum(other)) / 2
    return (joint - expected) / (largest - expected) if largest != expected else 1.0


labels = st.lists(st.integers(0, 3), min_size=7, max_size=7)


@given(labels, labels, labels)
def test_a_metric_and_the_rand_index_of_pairs(a, b, c):
    ab, bc, ac = distance(lists(a), lists(b)), distance(lists(b), lists(c)), distance(lists(a), lists(c))
    assert ab.rand == pytest.approx(rand_by_pairs(a, b))
    assert ab.variation == pytest.approx(distance(lists(b), lists(a)).variation)
    assert ac.variation <= ab.variation + bc.variation + 1e-9
    assert 0 <= ab.normalised <= 1 + 1e-9
    assert distance(lists(a), lists(a)).variation == 0
    assert distance(lists(a), lists(a)).rand == 1


def test_only_what_both_hold_counts():
    found = distance([["a", "b", "x"], ["c"]], [["a", "b"], ["c", "y", "z"]])
    assert (found.common, found.only) == (3, (1, 2))
    assert (found.variation, found.rand) == (0, 1)
    assert [(m.members, m.jaccard) for m in found.matches] == [(2, 1.0)]


def test_unrelated_partitions_have_a_rand_index_near_zero():
    rng = np.random.default_rng(0)
    a, b = (lists(rng.integers(0, 10, 2000).tolist()) for _ in range(2))
    found = distance(a, b)
    assert abs(found.rand) < 0.01
    assert found.recovered == 0
    assert found.variation > 6


def test_nothing_in_common_is_an_error():
    with pytest.raises(RankOneError, match="no subcomponent in common"):
        distance([["a"]], [["b"]])


def test_single_subcomponents_are_no_matches():
    found = distance([["a"], ["b"]], [["a"], ["b"]])
    assert (found.matches, found.mean_jaccard, found.recovered) == ([], None, None)
