"""Tolerances: what is allowed by domain, read from words, and how much of it is used."""

from __future__ import annotations

import math

import pytest

from rankone.core.errors import RankOneError
from rankone.edits.finding.request import FindConfig
from rankone.edits.finding.tolerances import Tolerances


def test_english_and_code_are_held_tighter():
    found = Tolerances()
    assert (found.of("en"), found.of("code"), found.of("nl"), found.about) == (0.02, 0.02, 0.05, 0.3)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), Tolerances()),
        (("0.01",), Tolerances(domains={}, other=0.01)),
        (("0.01", "about=0.2"), Tolerances(domains={}, other=0.01, about=0.2)),
        (("nl=0.1", "other=0.04"), Tolerances(domains={"en": 0.02, "code": 0.02, "nl": 0.1}, other=0.04)),
    ],
)
def test_read_from_words(words, expected):
    assert Tolerances.read(words) == expected
    assert FindConfig.checked({"of": "fr", "tolerance": words}, "find").tolerance == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("en=x",), "'en=x' is not a tolerance"),
        (("en=.1", "en=.2"), "'en' is given twice"),
        (("en=0",), "tolerance of 'en' is 0"),
        (("other=-1",), "other"),
    ],
)
def test_what_is_no_tolerance_is_refused(words, said):
    with pytest.raises(RankOneError, match=said):
        Tolerances.read(words)


def test_strain_is_the_largest_share_of_what_is_allowed():
    found = Tolerances()
    assert found.strain({"en": 0.01, "nl": 0.04}) == pytest.approx(0.8)
    assert found.strain({"en": 0.01}, about=0.6) == pytest.approx(2)
    assert math.isnan(found.strain({"en": math.nan, "nl": 9.0}))
    assert found.strain({}) == 0
    assert found.over({"en": 0.03, "nl": 0.03, "de": math.nan}) == ["en", "de"]
