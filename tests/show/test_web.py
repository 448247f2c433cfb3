"""The HTML page: what it says, that it is well formed and inert, and loads nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.pages import Page
from tests.show.portraits import HOSTILE, portrait

from rankone.clustering.components import Component
from rankone.core.errors import RankOneError
from rankone.harvest.reading.page import MemberRow
from rankone.show.web import portrait_page, write_portrait


@pytest.mark.parametrize("response", [False, True])
def test_hostile_text_stays_text(response):
    source = portrait_page(portrait(response=response))
    assert "<script>alert(1)</script>" in Page(source).text
    assert "\\u{202e}gnp.exe" in source
    assert "\\x1b[2J" in source


def test_a_component_shows_its_members():
    shown = portrait()
    shown = replace(
        shown, page=replace(shown.page, members=[MemberRow("a:1", 45, 0.9), MemberRow("<b>", 5, 0.1)])
    )
    page = Page(portrait_page(shown))
    assert page.tables["members-table"][1:] == [["a:1", "45", "", "90.0%"], ["<b>", "5", "", "10.0%"]]
    cluster = Component("c3", ["a:1", shown.page.part], 50, 0.5, 12.0, [40, 10])
    assert "member of c3, 2 subcomponents" in Page(portrait_page(replace(portrait(), cluster=cluster))).text
    own = replace(cluster, component=shown.page.part)
    assert "2 subcomponents; of them 50% fire" in Page(portrait_page(replace(portrait(), cluster=own))).text


def test_what_it_says():
    page = portrait_page(portrait(["de", "en", " der", "die", "und", "x"]))
    text = Page(page).text
    for words in (
        "h.0.mlp.down_proj:7",
        "5.00%",
        "German",
        "English",
        "␣der",
        "Reads alike (v)",
        "−0.50",
        "0.24",
    ):
        assert words in text, words
    assert "Not measured" in text
    # Both windows hold six tokens; importance 0.9 on 0, 2 (the centre) and 3, and on 0 (the centre).
    assert page.count('style="--g:0.90" title=') == 4
    assert page.count('<mark class="p c" style="--g:0.90"') == 2


def test_the_sign_of_the_activation_is_shown():
    shown = portrait(["de", "en", "a", "b", "c", "d"])
    shown.page.examples[0].activations[2] = -3.0
    assert (
        '<mark class="n c" style="--g:0.90" title="importance 0.90, activation −3.000">a</mark>'
        in portrait_page(shown)
    )


def test_missing_parts_are_named():
    text = Page(portrait_page(replace(portrait(), labels=[], directions={}))).text
    assert "No label" in text
    assert "No neighbours by direction" in text
    bare = portrait()
    bare.page.examples.clear()
    bare.page.input_tokens.clear()
    assert "The harvest kept none." in portrait_page(bare)


def test_nothing_is_overwritten(tmp_path):
    path = tmp_path / "page.html"
    write_portrait(portrait(), path)
    assert HOSTILE[0] not in path.read_text("utf8")
    with pytest.raises(RankOneError, match="already exists"):
        write_portrait(portrait(), path)
