"""Queries: what is wanted, what is denied, and labels held against both."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.labels.query import Query, denies


@pytest.mark.parametrize(
    ("query", "wanted", "denied"),
    [
        ("German  words german", ("german", "words"), ()),
        ("not german", (), ("german",)),
        ("words not in German and Dutch", ("words",), ("german", "dutch")),
        ("all text but French, Spanish or Italian", ("all", "text"), ("french", "spanish", "italian")),
        ("suffixes without code", ("suffixes",), ("code",)),
        ("non-German", (), ("german",)),
        ("not", ("not",), ()),
        ("notre", ("notre",), ()),
    ],
)
def test_words(query, wanted, denied):
    assert Query.read(query) == Query(wanted, denied)


@pytest.mark.parametrize("query", ["", "  "])
def test_without_words(query):
    with pytest.raises(RankOneError, match="the query is empty"):
        Query.read(query)


@pytest.mark.parametrize(
    ("query", "label", "match"),
    [
        ("german words", "German words: der", 1.0),
        ("ger words", "German words: der", 0.5),
        ("man", "German words: der", 0.0),
        ("not german", "text in all text but German", 1.0),
        ("not german", "notre, French words", 0.0),
        ("not german", "German words: der", 0.0),
        ("words not german", "German words: der", 0.0),
        ("words not german", "French words", 1.0),
        ("words not german", "words in all text but German", 1.0),
        ("words not germ", "Germanic words", 1.0),
    ],
)
def test_match(query, label, match):
    assert Query.read(query).match(label) == match


def test_denies():
    assert denies("german", "all text but German")
    assert not denies("german", "German text")
    assert not denies("german", "German, not Germanic, but German text")
