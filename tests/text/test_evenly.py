"""Sources in turns: by characters, any prefix even, nothing lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rankone.text.evenly import evenly

sources = st.lists(st.lists(st.text("ab", min_size=1, max_size=9), max_size=6), max_size=4)


def test_by_hand():
    """The second is at 0 when the first is at 4; then both are short of 4, the first at equal lengths first."""
    assert list(evenly([["aaaa", "a"], ["b", "bb", "b", "bbbb"]])) == ["aaaa", "b", "bb", "b", "a", "bbbb"]


def test_a_limit_stops_after_the_document_that_reaches_it():
    two = ["aaaa", "aa"], ["bb", "bb"]
    assert list(evenly(two, 0)) == []
    assert list(evenly(two, 4)) == ["aaaa"]
    assert list(evenly(two, 5)) == ["aaaa", "bb"]
    assert list(evenly(two, 7)) == ["aaaa", "bb", "bb"]


def test_no_more_is_read_than_needed():
    def endless():
        while True:
            yield "a"

    assert list(evenly([endless(), ["b"]], 4)) == ["a", "b", "a", "a"]


@given(sources, st.integers(0, 60))
def test_prefixes_and_completeness(given_, limit):
    whole = list(evenly(given_))
    assert sorted(whole) == sorted(d for own in given_ for d in own)
    part = list(evenly(given_, limit))
    assert part == whole[: len(part)]
    assert len(part) == len(whole) or sum(map(len, part)) >= limit
