"""A value of another kind than it should be is told in one line, in words that say what to give."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from rankone.core.config import Config
from rankone.core.errors import RankOneError


class Asked(Config):
    place: Path | None = None
    name: str = "x"


class Saveable:
    def save_pretrained(self, path):
        """As edits and models have it."""


@pytest.mark.parametrize(
    ("given", "said"),
    [(5, r"must be a path \(got 5\)"), (Saveable(), r"must be a path: save it first \(save_pretrained\)")],
)
def test_what_is_no_path(given, said):
    with pytest.raises(RankOneError, match=f"^edit: place: {said}") as refused:
        Asked.checked({"place": given}, "edit")
    assert "pathlib" not in str(refused.value)


def test_a_value_of_many_lines_is_told_in_one():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert "\n" in repr(model)
    with pytest.raises(RankOneError, match=r"name: .*got Sequential\( \(0\)") as refused:
        Asked.checked({"name": model}, "open")
    assert "\n" not in str(refused.value)
