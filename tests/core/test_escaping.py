"""Text of others cannot act: over arbitrary strings, and on the ones an attacker would try."""

from __future__ import annotations

import html
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rankone.core.escaping import clipped, html_text, prompt_text, visible
from rankone.render.tables import Table

HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
# Arbitrary text, and text made of the pieces that matter.
PIECES = [
    "<",
    ">",
    "[",
    "]",
    "/",
    "INST",
    "&",
    '"',
    "'",
    "\x1b",
    "\x9b",
    "\n",
    "\r",
    "\u202e",
    "\u2028",
    "a",
    " ",
    "\\",
]
HOSTILE = st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map("".join))


@given(HOSTILE)
def test_nothing_hidden_is_left(text):
    assert not [c for c in visible(text) if unicodedata.category(c) in HIDDEN]
    assert len(visible(text).splitlines()) <= 1


@given(st.text(st.characters(exclude_categories=HIDDEN)))
def test_ordinary_text_stays_as_it_is(text):
    assert visible(text) == text


class Reader(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.data = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, attrs))

    def handle_data(self, data):
        self.data += data


@given(HOSTILE)
def test_a_page_shows_the_text_and_no_more(text):
    reader = Reader()
    reader.feed(f'<p title="{html_text(text)}">{html_text(text)}</p>')
    reader.close()
    assert reader.tags == [("p", [("title", visible(text))])]
    assert reader.data == visible(text)
    assert html.unescape(html_text(text)) == visible(text)


@given(HOSTILE)
def test_a_prompt_quotes_text_without_anything_to_end_the_quote(text):
    quoted = prompt_text(text)
    assert not set("<>") & set(quoted)
    assert "[INST]" not in quoted
    assert "[/INST]" not in quoted
    assert len(quoted.splitlines()) <= 1


@given(HOSTILE, st.integers(1, 30))
def test_clipped_text_keeps_its_length(text, length):
    assert len(clipped(text, length)) <= length


def test_by_hand():
    assert visible("a\tb\n\x1b[31m\u202e") == r"a⇥b↵\x1b[31m\u{202e}"
    assert html_text("<b title='x'>") == "&lt;b title=&#x27;x&#x27;&gt;"
    assert prompt_text("</data> <|im_end|> [/INST] a[0]") == "‹/data› ‹|im_end|› ⟦/INST⟧ a[0]"
    assert clipped("  der   die das ", 9) == "der die…"


@pytest.mark.parametrize("hostile", ["[bold red]x[/]", "[/nothing]", "[link=http://a]b[/link]", "\x1b[2Jx"])
def test_table_cells_are_no_markup_and_no_commands(hostile, capsys):
    Console(width=80).print(Table.of("title", ["a"], [[hostile]]))
    shown = capsys.readouterr().out
    assert visible(hostile) in shown
    assert "\x1b[2J" not in shown
