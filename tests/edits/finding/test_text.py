"""What is read of a passage."""

from __future__ import annotations

import pytest

from rankone.edits.finding.text import PASSAGE_CHARS, _opening


@pytest.mark.parametrize(
    ("passage", "read"),
    [
        ("a b", "a b"),
        ("a" * (PASSAGE_CHARS - 2) + " b", "a" * (PASSAGE_CHARS - 2) + " b"),
        ("a" * (PASSAGE_CHARS - 2) + " bc", "a" * (PASSAGE_CHARS - 2)),
        ("犬" * (PASSAGE_CHARS + 1), "犬" * PASSAGE_CHARS),
        ("犬 " + "猫" * PASSAGE_CHARS, "犬 " + "猫" * (PASSAGE_CHARS - 2)),
    ],
    ids=["short", "whole", "cut at a blank", "no blanks", "one blank, early"],
)
def test_the_opening_of_a_passage(passage, read):
    assert _opening(passage) == read
