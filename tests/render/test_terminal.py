"""Tables at every width: no number cut, the key always there, what is left out is said; also in a real terminal."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from tests.render.printed import demo
from tests.render.terminals import WIDTHS, environment, in_terminal

from rankone.render.columns import BAR, LEVEL, Column
from rankone.render.tables import Table
from rankone.render.terminal import layout, plain


def unwrapped(shown: str) -> str:
    return " ".join(shown.split())


@pytest.mark.parametrize("width", WIDTHS)
def test_every_width_is_readable(width):
    shown = plain(demo(), width)
    assert max(map(cell_len, shown.splitlines())) <= width
    found = layout(demo(), width)
    for row in demo().rows:
        words = {w for i in found.shown for w in demo().columns[i].text(row[i]).split()}
        assert words <= set(shown.split())
    left = [c.name for i, c in enumerate(demo().columns) if i not in found.shown]
    assert "method" not in left
    assert ("no room" in shown) == bool(left)
    for name in left:
        assert name in unwrapped(shown).split("no room at")[1]


def test_columns_go_by_priority_then_from_the_right():
    gone = [
        [c.name for i, c in enumerate(demo().columns) if i not in layout(demo(), w).shown]
        for w in (150, 80, 60)
    ]
    assert gone[0] == []
    assert gone[1] == ["nl", "sv", "found in"]
    assert gone[2] == ["fr", "es", "it", "nl", "sv", "found in"]


def test_a_key_wraps_and_goes_nowhere():
    name = "model.layers.25.self_attn.q_proj:12345"
    long = Table.of("t", ["a", Column("part", key=True)], [["x " * 40, name]])
    assert [line.strip() for line in plain(long, 20).splitlines()[3:5]] == [name[:20], name[20:]]
    assert "no room at 20 columns for: a" in unwrapped(plain(long, 20))
    assert name in plain(long, 60)


def test_a_key_that_is_a_sentence_leaves_room_to_what_is_longer():
    """A claim has the room of a long name, the figures beside it the rest; where these are short it has it all."""
    claim = "One scalar leaves the other languages and code nearly untouched."
    columns = [Column("claim", key=True), "figures"]
    assert layout(Table.of("t", columns, [[claim, "x " * 120]]), 80).widths == (34, 44)
    assert layout(Table.of("t", columns, [[claim, "open"]]), 80).widths == (len(claim), 7)


def test_bars_and_levels():
    made = Table.of(
        "t",
        ["a", Column("b", BAR), Column("x", LEVEL), Column("y", LEVEL)],
        [["p", 2.0, 4.0, 2.0], ["q", 1.0, 0, 8]],
    )
    lines = plain(made).splitlines()[-2:]
    assert lines[0].split() == ["p", "█" * 20, "█", "▄"]
    assert lines[1].split() == ["q", "█" * 10, "█"]


def test_a_value_above_the_limit_stands_out():
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system="standard")
    console.print(Table.of("t", ["a", Column("b", ".1f", limit=0.5)], [["p", 0.5], ["q", 0.4]]))
    assert "\x1b[1;31m0.5" in stream.getvalue()
    assert "\x1b[1;31m0.4" not in stream.getvalue()


@given(
    st.lists(st.tuples(st.text(max_size=80), st.floats(allow_nan=False), st.integers()), max_size=5),
    st.integers(60, 200),
)
def test_whatever_the_cells_no_number_is_cut_and_no_line_is_longer(rows, width):
    made = Table.of("t", ["a", Column("b", key=True), "c"], rows)
    shown = plain(made, width)
    assert max(map(cell_len, shown.splitlines())) <= max(width, layout(made, width).whole)
    for row in made.rows:
        assert made.columns[1].text(row[1]) in shown


SCRIPT = """
from tests.render.printed import demo
from tests.render.terminals import WIDTHS, environment, in_terminal
from rankone.runtime.progress import console, meter, report
report()
with meter("fit", 2) as bar:
    bar.advance(); bar.advance()
console.print(demo())
"""


@pytest.mark.parametrize("width", WIDTHS)
def test_in_a_real_terminal(width):
    shown = in_terminal(width, SCRIPT).replace("\r\n", "\n")
    assert plain(demo(), width) in shown
    assert "2/2" in shown


@pytest.mark.parametrize(("columns", "width"), [(None, 150), ("80", 80), ("60", 60)])
def test_in_a_pipe_columns_is_obeyed_and_progress_stays_out(columns, width):
    more = {} if columns is None else {"COLUMNS": columns}
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment(**more), capture_output=True, text=True
    )
    assert ran.stdout.strip("\n") == plain(demo(), width)
    assert "fit: 1/2  0:00 left of 0:00" in ran.stderr
    assert "fit: 2/2  took 0:00" in ran.stderr


def test_the_number_of_a_part_stays_whole_where_its_name_is_too_long():
    table = Table.of(
        "Parts",
        [Column("part", key=True), Column("α", ".2f")],
        [["sharpened-channel-de/h.0.attn.o_proj:187", -1.25]],
    )
    words = plain(table, 42).split()
    assert {"sharpened-channel-de/", "h.0.attn.o_proj:187", "−1.25"} <= set(words)
