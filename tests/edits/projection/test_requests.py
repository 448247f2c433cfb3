"""What a projection may be asked."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.edits.projection.requests import ProjectRequest


def test_one_of_each_is_enough():
    sizes = dict.fromkeys(("count", "keep", "top", "tokens"), 1)
    asked = ProjectRequest.checked({"adapter": "lora", "sources": "neuron,singular", **sizes}, "project")
    assert asked.sources == ("neuron", "singular")
    assert {name: getattr(asked, name) for name in sizes} == sizes


def test_parts_that_need_text_are_made_elsewhere():
    with pytest.raises(
        RankOneError, match="'contrast' parts are made from text: make them with `rankone find`"
    ):
        ProjectRequest.checked({"adapter": "lora", "sources": ["neuron", "contrast"]}, "project")
