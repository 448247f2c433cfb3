"""Search over counts and labels made by hand."""

from __future__ import annotations

import pytest
from tests.harvest.counted import Counted
from tests.labels.written import written

from rankone.core.errors import RankOneError
from rankone.labels.by_words import labelled
from rankone.labels.query import Query
from rankone.labels.search import search

VOCABULARY = [("der", 40, 30.0), (" der", 60, 50.0), (" the", 100, 90.0), ("[/red]", 5, 5.0)]


@pytest.fixture
def store():
    """1,000 tokens; a:1 fires on `der`, a:2 leads to it, a:3 fires on German alone, a:4 on everything."""
    components = {
        "a:0": (20, 0),
        "a:1": (40, 40),
        "a:2": (30, 30),
        "a:3": (50, 1),
        "a:4": (400, 400),
        "a:5": (9, 9),
    }
    return Counted(
        {"de": 500, "en": 500},
        components,
        VOCABULARY,
        inputs={"a:1": {"der": 30, " der": 30}, "a:4": {" der": 50, "der": 30, " the": 90}},
        outputs={"a:2": {" der": 15.0}},
    )


@pytest.fixture
def labels():
    return written(
        a_0=("German function words", 0.5),
        a_1=("short words", 0.9, "Mostly articles."),
        a_2=("text", 0.2, "Some German."),
        a_3=("suffixes", 0.8),
        a_4=("Germanic words", 1.0),
        a_5=("der and die", 0.1),
    )


def found(store, labels, query, **options):
    return [(hit.part, *hit.places.values()) for hit in search(store, labels, query, **options)]


def test_labels_come_before_beginnings_domains_and_reasons(store, labels):
    """4 · 1.5/2 = 3 for the word, 2 for a beginning at full confidence, 1.5 · 1.8/2 for the domain, 1.2/2 for the reason;
    each times 1 + the specificity: a:0 .04, a:3 .1 − .002, the others none."""
    assert found(store, labels, "German") == [
        ("a:0", "label"),
        ("a:4", "beginning of a word of the label"),
        ("a:3", "domain"),
        ("a:2", "reason"),
    ]
    scores = [hit.score for hit in search(store, labels, "german")]
    assert scores == pytest.approx([3.0 * 1.04, 2.0, 1.35 * 1.098, 0.6])


def test_a_label_that_denies_a_word_is_not_found_by_it(store):
    labels = written(
        a_0=("words in all text but German: der", 0.9),
        a_1=("text in all text but English and German", 0.9),
        a_2=("not German, but French", 0.9),
        a_3=("German suffixes", 0.8, "Not English."),
        a_4=("non-German words", 1.0, "German elsewhere."),
        a_5=("German words, not English", 0.1),
    )
    assert [c for c, *_ in found(store, labels, "German")] == ["a:3", "a:5"]
    assert [c for c, *_ in found(store, labels, "French")] == ["a:2"]
    with pytest.raises(RankOneError, match="nothing matches"):
        search(store, labels, "English")


def test_a_query_that_denies(store):
    """a:1 fires on `der`, a:3 on German alone, a:5 has the word in its label."""
    labels = written(
        a_0=("words in all text but German: notre", 0.9),
        a_1=("French words", 0.9),
        a_2=("notre, French words", 0.8, "No German."),
        a_3=("French suffixes", 0.8),
        a_4=("not German, but French", 0.1),
        a_5=("French and German words", 0.9),
    )
    assert found(store, labels, "not German") == [
        ("a:0", "denied in the label"),
        ("a:4", "denied in the label"),
    ]
    assert [c for c, *_ in found(store, labels, "French not German")] == ["a:1", "a:2", "a:4"]
    assert [c for c, *_ in found(store, labels, "French without der")] == ["a:5", "a:3", "a:4"]
    with pytest.raises(RankOneError, match="nothing matches 'not code'"):
        search(store, labels, "not code")
    assert labelled(labels, "French not German") == ["a:1", "a:2", "a:3", "a:4"]


def test_the_more_specific_to_a_named_domain_comes_first(store):
    """a:3 fires on 10 % of German alone, a:0 on 4 %; both labels are alike."""
    labels = written(a_0=("German words", 0.8), a_3=("German suffixes", 0.8))
    assert [c for c, *_ in found(store, labels, "german")] == ["a:3", "a:0"]
    assert [c for c, *_ in found(store, labels, "de")] == ["a:3", "a:0"]


def test_tokens_count_when_they_are_telling(store, labels):
    """a:4 fires on `der` too, but on 10 % of its firings with a PMI of 0: it fires on everything."""
    assert found(store, labels, "der") == [
        ("a:5", "label"),
        ("a:1", "fires on it"),
        ("a:2", "leads to it"),
    ]


def test_all_words_are_needed(store, labels):
    assert found(store, labels, "words function german") == [("a:0", "label", "label", "label")]
    assert found(store, labels, "short der") == [("a:1", "label", "fires on it")]


def test_what_a_hit_says(store, labels):
    (hit,) = search(store, labels, "german", top=1)
    assert (hit.density, hit.densities) == (0.02, {"de": 0.04, "en": 0.0})
    assert hit.label.label == "German function words"


@pytest.mark.parametrize("query", ["xyzzy", "german xyzzy", "(", "[/red] x"])
def test_no_match_says_what_was_searched(store, labels, query):
    with pytest.raises(
        RankOneError, match=r"searched: 6 labels with their reasons, the tokens and the 2 domains"
    ):
        search(store, labels, query)


def test_an_empty_query_is_refused(store, labels):
    with pytest.raises(RankOneError, match="the query is empty"):
        search(store, labels, "  ")


def test_what_has_all_the_words_whole_in_its_label(labels):
    best = {name: labels.best(name).label for name in labels.names()}
    for query in {word for label in best.values() for word in label.casefold().split() if word.isalpha()}:
        wanted = [name for name, label in best.items() if Query.read(query).match(label) == 1]
        if wanted:
            assert labelled(labels, query) == wanted
    with pytest.raises(RankOneError, match="no label holds 'nowhereinthem'"):
        labelled(labels, "nowhereinthem")
