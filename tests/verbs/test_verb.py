"""How requests read what they are given."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

from rankone.core.errors import RankOneError
from rankone.core.fields import Names, Positional, Request, ScalesByName


class Asked(Request):
    domains: Names = Field((), description="domains")
    scales: Annotated[ScalesByName, Positional()] = Field(default_factory=dict, description="scales")


def test_names_come_as_a_list_or_with_commas_between_them():
    assert Asked.checked({"domains": "de, en"}, "x").domains == ("de", "en")
    assert Asked.checked({"domains": ["fr", "it"]}, "x").domains == ("fr", "it")
    for twins in ("de, en,de", ["de", "de"]):
        with pytest.raises(RankOneError, match="domains: 'de' is given twice: leave one out"):
            Asked.checked({"domains": twins}, "x")


def test_scales_come_as_a_mapping_or_as_words():
    assert Asked.checked({"scales": {"a:1": -2}}, "x").scales == {"a:1": -2.0}
    assert Asked.checked({"scales": ("h.0.a:1=-16", "b=c:2=.5")}, "x").scales == {
        "h.0.a:1": -16.0,
        "b=c:2": 0.5,
    }
    for words in ("h.0.a:1=-16, b=c:2=.5", ["h.0.a:1=−16", " b=c:2=.5"]):
        assert Asked.checked({"scales": words}, "x").scales == {"h.0.a:1": -16.0, "b=c:2": 0.5}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("h.0.a:1", "'h.0.a:1' sets no scale: write PART=ALPHA"),
        ("", "'' sets no scale"),
        ("a=1,a=2", "'a' is given twice"),
        (("h.0.a:1",), "'h.0.a:1' sets no scale: write PART=ALPHA"),
        (("a=1", "a=2"), "'a' is given twice"),
        (("a=big",), "scales: 'a=big': 'big' is not a number"),
        (("a=nan",), "scales.a: must be a finite number"),
    ],
)
def test_what_is_no_scale_is_refused(words, said):
    with pytest.raises(RankOneError, match=said):
        Asked.checked({"scales": words}, "x")
