"""Spearman by hand, with ties, and unmoved by monotone maps; the ROC area as a share of won pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankone.metrics.rank_statistics import roc_area, spearman

numbers = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3, 4, 5], [5, 6, 7, 8, 7], 0.8207826816681233),  # a textbook's case with one tie
        ([1, 2, 3, 4], [1, 3, 2, 4], 1 - 6 * 2 / (4 * 15)),
        ([1, 2], [1, 2], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 1, 2, 2], [1, 2, 1, 2], 0.0),
        ([1, 1, 1], [1, 2, 3], None),
        ([1, 2, 3], [1, 1, 1], None),
        ([1], [1], None),
        ([], [], None),
    ],
)
def test_spearman_by_hand(a, b, expected):
    for kind in (list, np.array, lambda side: torch.tensor(side, dtype=torch.float32)):
        assert spearman(kind(a), kind(b)) == (expected if expected is None else pytest.approx(expected))


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=2, max_size=12))
def test_spearman_sees_order_alone(pairs):
    a, b = (torch.tensor(side, dtype=torch.float64) for side in zip(*pairs, strict=True))
    found = spearman(a, b)
    assert spearman(b, a) == (None if found is None else pytest.approx(found))
    if found is not None:
        assert -1 - 1e-9 <= found <= 1 + 1e-9
        assert spearman(a**3 + 5, b) == pytest.approx(found)
        assert spearman(-a, b) == pytest.approx(-found)


@given(numbers, numbers)
def test_roc_area_is_the_share_of_won_pairs(higher, lower):
    won = sum((a > b) + 0.5 * (a == b) for a in higher for b in lower)
    assert roc_area(higher, lower) == pytest.approx(won / (len(higher) * len(lower)))
