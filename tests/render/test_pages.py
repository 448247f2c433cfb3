"""The HTML engine: whatever is a value comes out inert, tables are whole, and a lacking value is an error."""

from __future__ import annotations

from html.parser import HTMLParser

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankone.core.escaping import visible
from rankone.render.columns import BAR, LEVEL, TOKEN, Column
from rankone.render.pages import passage, rendered, table_html, token
from rankone.render.tables import Table


class Cells(HTMLParser):
    def __init__(self, source):
        super().__init__()
        self.tags, self.cells = [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag in ("td", "th", "caption", "p"):
            self.cells.append("")

    def handle_data(self, data):
        if self.cells and data.strip():
            self.cells[-1] += data


@given(st.text(st.characters(exclude_characters="\r"), min_size=1, max_size=30))
def test_no_text_opens_a_tag(text):
    made = Table.of("t", ["name", Column("token", TOKEN), "list"], [["x" + text, text, [text]]])
    read = Cells(table_html(made))
    assert read.tags == [
        "div",
        "table",
        "caption",
        "thead",
        "tr",
        *["th"] * 3,
        "tbody",
        "tr",
        "td",
        "td",
        "code",
        "td",
        "code",
    ]
    assert read.cells[4] == "x" + visible(text)


def test_cells_by_hand():
    columns = [
        "a",
        Column("b", "+.1f", limit=0.5),
        Column("c", BAR),
        Column("d", LEVEL),
        Column("e", ".1f", shade=True),
    ]
    html = table_html(
        Table.of("T", columns, [["p", 0.5, 1.0, 2.0, 0.2], ["q", -0.4, 4.0, 0.0, 0.4]], "cap", [1]), "id"
    )
    assert '<table role="table" id="id">' in html
    assert "<caption>T</caption>" in html
    assert '<td role="cell" data-label="b" class="over">+0.5</td>' in html
    assert '<td role="cell" data-label="b">−0.4</td>' in html
    assert '<span class="bar" style="--w:0.250"></span>' in html
    assert '<span class="level" style="--w:1.000"></span>' in html
    assert '<td role="cell" data-label="e" class="shaded" style="--g:0.50">0.2</td>' in html
    assert html.count('<tr role="row" class="strong">') == 1
    assert '<p class="note">cap</p>' in html


def test_a_table_shows_itself_in_a_notebook():
    made = Table.of("T", ["a"], [["<b>"]])
    assert "&lt;b&gt;" in made._repr_html_()
    assert "<b>" in str(made)


def test_a_lacking_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        rendered("page.html")


def test_tokens_and_passages():
    assert token(" a ") == "<code>␣a␣</code>"
    assert passage("a\n<b>\x1b") == "a↵\n&lt;b&gt;\\x1b"


def test_only_long_words_are_broken_on_a_phone():
    """`holds` in a narrow column stays whole, a part's name does not push the others out of sight."""
    source = table_html(
        Table.of("", ["claim", "here"], [["short words", "holds"], ["h.3.mlp.down_proj:1 too", "open"]])
    )
    assert '<td role="cell" class="words">short words</td>' in source
    assert '<td role="cell" class="words long">h.3.mlp.down_proj:1 too</td>' in source
    assert '<td role="cell" data-label="here" class="words">holds</td>' in source


def test_figures_with_their_interval_are_no_text_that_needs_room():
    cells = ["+0.007 (0.000 to +0.014)", "−25.7 to −17.7", "3/3 (0.44 to 1.00)", "–", "to 3 rows", ""]
    source = table_html(Table.of("", ["name", "a"], [["x", cell] for cell in cells]))
    assert source.count('class="words span"') == 4


def test_a_region_is_named_by_title_or_caption_and_a_wide_row_says_what_its_cells_are():
    wide = Table.of("", ["name", "a", "b", "c"], [["x", 1, 2, "y"]], "What a, b and c are.")
    source = table_html(wide)
    assert 'role="group" tabindex="0" aria-label="What a, b and c are."' in source
    assert '<table role="table" class="stacks">' in source
    assert '<td role="cell" class="words">x</td><td role="cell" data-label="a">1</td>' in source
    narrow = table_html(Table.of("Two", ["name", "a"], [["x", 1]], "Said."))
    assert 'aria-label="Two"' in narrow
    assert "stacks" not in narrow
    assert "stacks" not in table_html(Table.of("", ["name", "a", "b", "c"], [["x", 1, 2, 3]]))
    assert "stacks" in table_html(Table.of("", ["n", *"abcde"], [["x", 1, 2, 3, 4, 5]]))
