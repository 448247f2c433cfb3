"""Wilson's bound and Kish's number against their definitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from rankone.metrics.wilson import Z, effective_draws, wilson_interval, wilson_lower


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_bound_is_the_lower_root_of_its_equation(draws, share):
    """Wilson: the p below the seen share with |share − p| = z √(p (1 − p) / n)."""
    p = wilson_lower(share, draws)
    assert 0 <= p <= share + 1e-12
    assert (share - p) ** 2 == pytest.approx(Z * Z * p * (1 - p) / draws, abs=1e-9)


@given(st.integers(1, 5000), st.data())
def test_whole_counts_have_scipys_interval(draws, data):
    count = data.draw(st.integers(0, draws))
    expected = binomtest(count, draws).proportion_ci(method="wilson")
    # SciPy's z is 1.959964.
    assert wilson_interval(count / draws, draws) == pytest.approx((expected.low, expected.high), abs=1e-4)
    assert wilson_lower(count / draws, draws) == wilson_interval(count / draws, draws)[0]


def test_by_hand():
    assert wilson_interval(0.5, 0) == (0.0, 1.0)
    assert wilson_interval(0.0, 10) == (0.0, pytest.approx(Z * Z / (10 + Z * Z)))
    assert wilson_lower(1.0, 10) == pytest.approx(10 / (10 + Z * Z))
    assert wilson_lower(0.0, 10) == 0.0
    assert wilson_lower(0.7, 0) == 0.0


def test_unequal_weights_count_for_less():
    assert effective_draws([1.0, 1.0], [30, 70]) == pytest.approx(100)
    assert effective_draws([9.0, 1.0], [1, 1]) == pytest.approx(100 / 82)
    assert effective_draws([0.1], [5]) == pytest.approx(5)
    assert effective_draws([1.0], [0]) == 0.0
    for weights, counts in (([1.0, 1.0], [1]), ([1.0], [1, 1])):
        with pytest.raises(ValueError, match="zip"):
            effective_draws(weights, counts)
