"""Domains: one, several, all but some, everywhere; confidence grows with evidence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labels.pages import domain

from rankone.labels.statistics.where import where
from rankone.metrics.wilson import wilson_lower

ALL = ("de", "en", "fr", "es", "it", "nl", "sv", "code")


def rows(**firings):
    return [domain(d, 1000, firings.get(d, 0)) for d in ALL]


def words(place):
    return place.adjective, place.tail


def test_one_domain():
    place = where(rows(de=90, nl=10))
    assert words(place) == ("German", "")
    assert place.single
    assert place.share == pytest.approx(0.9)
    assert place.confidence == pytest.approx(wilson_lower(0.9, 100))


def test_several_domains():
    assert words(where(rows(de=90, nl=60, en=3))) == ("German and Dutch", "")
    assert words(where(rows(de=90, nl=60, sv=50, en=3))) == ("German, Dutch and Swedish", "")


def test_all_but_some():
    most = dict.fromkeys(("de", "fr", "es", "it", "nl", "sv"), 50)
    assert words(where(rows(**most, en=2, code=1))) == ("", " in all text but code and English")
    assert words(where(rows(**dict.fromkeys(("de", "fr", "es", "it", "nl"), 50)))) == (
        "",
        " in 5 of 8 domains, most in German",
    )


def test_everywhere():
    even = where(rows(**dict.fromkeys(ALL, 50)))
    assert words(even) == ("", " everywhere")
    assert even.confidence == pytest.approx(wilson_lower(1.0, 400))
    uneven = where([domain("de", 1000, 100), domain("en", 1000, 55)])
    assert words(uneven) == ("", " everywhere")
    assert uneven.confidence < wilson_lower(1.0, 155)


def test_domains_count_by_density_not_by_size():
    place = where([domain("de", 100, 50), domain("en", 100_000, 500)])
    assert words(place) == ("German", "")
    assert place.share == pytest.approx(0.5 / 0.505)


def test_one_harvested_domain_or_none_claims_nothing():
    for rows_ in ([domain("de", 100, 50)], [], [domain("de", 100, 0), domain("en", 100, 0)]):
        place = where(rows_)
        assert words(place) == ("", "")
        assert not place.single


def test_unknown_tags_keep_their_name_and_cannot_act():
    assert words(where([domain("my\x1b[2Jtext", 100, 50), domain("en", 100, 0)])) == (r"my\x1b[2Jtext", "")


@given(st.lists(st.integers(0, 100), min_size=2, max_size=8), st.integers(2, 50))
def test_more_of_the_same_evidence_never_lowers_confidence(firings, times):
    few = [domain(d, 1000, n) for d, n in zip(ALL, firings, strict=False)]
    many = [domain(d, 1000 * times, n * times) for d, n in zip(ALL, firings, strict=False)]
    before, after = where(few), where(many)
    assert words(before) == words(after)
    assert 0 <= before.confidence <= after.confidence + 1e-12
