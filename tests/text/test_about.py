"""English about a country: there in every split, each passage once, and English."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.text.about import about_domain, about_passages

SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize(
    ("language", "words"), [("fr", ("France", "French", "Paris")), ("de", ("German", "Berlin"))]
)
def test_every_split_has_passages_about_the_country(language, words):
    passages = [about_passages(language, split) for split in SPLITS]
    assert [len(own) for own in passages] == [14, 4, 4]
    together = [p for own in passages for p in own]
    assert len(set(together)) == len(together)
    for passage in together:
        assert " the " in passage
        assert len(passage.split()) > 90
    assert sum(any(word in p for word in words) for p in together) >= 8


def test_names_and_what_there_is_not():
    assert about_domain("fr") == "about-fr"
    assert about_passages("es", "train") == []
    with pytest.raises(RankOneError, match="unknown split"):
        about_passages("fr", "dev")
