"""Kinds of tokens by hand, with and without spaces in them."""

from __future__ import annotations

import pytest
from tests.labels import pages

from rankone.labels.statistics.function_words import FUNCTION_WORDS, function_words
from rankone.labels.statistics.tokens import distinct, kind, marks_starts, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" der", "function"),
        (" Die", "function"),
        (" Haus", "capitalised"),
        (" gehen", "word"),
        ("ung", "suffix"),
        ("der", "suffix"),
        (" 1999", "digits"),
        (",", "punctuation"),
        ("...", "punctuation"),
        ("):", "symbol"),
        (" ==", "symbol"),
        ("x_1", "symbol"),
        ("\n\n", "space"),
        (" ", "space"),
        ("▁der", "function"),
        ("Ġund", "function"),
        ("\ufffd", "other"),
        ("’s", "suffix"),
    ],
)
def test_kinds(text, expected):
    assert kind(text, function_words(["de"]), starts=True) == expected


def test_without_spaces_a_bare_word_begins():
    assert kind("der", function_words(["de"]), starts=False) == "function"
    assert kind("gehen", function_words(["de"]), starts=False) == "word"


def test_function_words_are_those_of_the_known_languages():
    assert kind(" the", function_words(["de"]), True) == "word"
    assert kind(" the", function_words(["de", "en"]), True) == "function"
    assert function_words(["code"]) == frozenset().union(*FUNCTION_WORDS.values())
    assert all(word == word.casefold() for words in FUNCTION_WORDS.values() for word in words)


def test_shown_and_distinct():
    assert [shown(t, True) for t in (" der", "ung", "\n", " ", ".", "\x1b[2J")] == [
        "der",
        "-ung",
        "↵",
        "␣",
        ".",
        r"\x1b[2J",
    ]
    assert shown("ung", False) == "ung"
    assert distinct([" Der", " der", "\ufffd", "der", " die", " das"], 3, True) == ["Der", "-der", "die"]


def test_starts_are_seen_in_lists_and_windows():
    assert not marks_starts(pages.page(examples=[pages.example("de", ["der", "Hund"], 0)]))
    assert marks_starts(pages.page(examples=[pages.example("de", ["der", " Hund"], 0)]))
    assert marks_starts(pages.page(firings=1, inputs=[pages.token("▁der", 1, 2, 10, 100)]))
