"""The HTML page: what it says, that it is well formed and inert, and loads nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from tests.show.portraits import HOSTILE, portrait

from rankone.errors import RankOneError
from rankone.show.web import portrait_page, write_portrait

VOID = {"meta", "br", "img", "input", "link", "hr", "path", "use", "rect", "line"}


class Reader(HTMLParser):
    """Notes tags, attributes and text, and that every tag is closed by its own."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], set(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, *a) for a in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, *a) for a in attrs]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("response", [False, True])
def test_hostile_text_stays_text(response):
    page = portrait_page(portrait(response=response))
    reader = read(page)
    assert not reader.tags & {"script", "img", "iframe", "object", "link", "base", "form"}
    assert not [a for _, a, _ in reader.attributes if a.startswith("on")]
    assert "<script>alert(1)</script>" in "".join(reader.text)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f]", page)
    assert "\\u{202e}gnp.exe" in page
    assert "\\x1b[2J" in page


def test_nothing_is_loaded():
    page = portrait_page(portrait(response=True))
    assert "default-src 'none'" in page
    links = [v for _, a, v in read(page).attributes if a in ("href", "src", "xlink:href")]
    assert all(v.startswith("#") for v in links)
    assert not re.search(r"url\((?!#)|@import", page)


def test_what_it_says():
    page = portrait_page(portrait(["de", "en", " der", "die", "und", "x"]))
    text = "".join(read(page).text)
    for words in (
        "h.0.mlp.down_proj:7",
        "5.00 %",
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
    text = "".join(read(portrait_page(replace(portrait(), labels=[], directions={}))).text)
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
