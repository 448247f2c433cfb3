"""Levels of stochastic sources by row."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.masking.levels import LEVELS
from rankone.decomposition.masking.numbers import Generated

ROWS = 6000


def drawn(name):
    return LEVELS[name](Generated(torch.Generator().manual_seed(0), ROWS))


def test_uniform_sources_have_no_level():
    assert LEVELS["uniform"] is None


def test_binary_sources_are_one_half_the_time():
    assert torch.equal(drawn("binary"), torch.full((ROWS, 1, 1), 0.5))


def test_corners_have_a_sixth_of_the_rows_at_each_end():
    levels = drawn("corners")
    assert levels.shape == (ROWS, 1, 1)
    for end in (0.0, 1.0):
        assert (levels == end).float().mean().item() == pytest.approx(1 / 6, abs=0.02)
    inner = levels[(levels > 0) & (levels < 1)]
    assert inner.mean().item() == pytest.approx(0.5, abs=0.02)
    assert inner.var().item() == pytest.approx(1 / 12, abs=0.01)
