"""Bars by hand."""

from __future__ import annotations

import pytest

from rankone.render.bars import bar, level


@pytest.mark.parametrize(
    ("value", "largest", "drawn"),
    [
        (4, 4, "████"),
        (2, 4, "██  "),
        (1.5, 4, "█▌  "),
        (1e-9, 4, "▏   "),
        (0, 4, "    "),
        (9, 4, "████"),
        (0, 0, "    "),
    ],
)
def test_bar(value, largest, drawn):
    assert bar(value, largest, 4) == drawn


@pytest.mark.parametrize(
    ("value", "largest", "drawn"), [(1, 1, "█"), (0.5, 1, "▄"), (1e-9, 1, "▁"), (0, 1, " ")]
)
def test_level(value, largest, drawn):
    assert level(value, largest) == drawn
