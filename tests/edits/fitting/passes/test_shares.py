"""How far rows are computed, and which runs together."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankone.edits.fitting.passes.shares import FORWARD, shares, widths


def test_rows_count_up_to_the_last_scored_position():
    scored = torch.zeros(3, 2, 5, dtype=torch.bool)
    scored[0, 0, 1] = scored[0, 1, 3] = scored[2, 1, 4] = True
    assert widths(scored) == [4, 1, 5]


def cost(lengths, sizes, rows):
    ends = list(accumulate(sizes, initial=0))
    return sum(FORWARD + rows * max(lengths[a:b]) * (b - a) for a, b in pairwise(ends))


@given(st.lists(st.integers(1, 200), min_size=1, max_size=7), st.integers(1, 3))
def test_no_other_cut_costs_less(lengths, rows):
    sizes = shares(lengths, rows)
    assert sum(sizes) == len(lengths)
    assert min(sizes) > 0
    between = len(lengths) - 1
    for cuts in range(2**between):
        ends = [0, *(i + 1 for i in range(between) if cuts >> i & 1), len(lengths)]
        assert cost(lengths, sizes, rows) <= cost(lengths, [b - a for a, b in pairwise(ends)], rows)


@pytest.mark.parametrize(("lengths", "sizes"), [([100] * 4 + [10] * 4, [4, 4]), ([12, 10, 11], [3])])
def test_long_rows_stand_apart(lengths, sizes):
    assert shares(lengths) == sizes
