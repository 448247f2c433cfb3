"""Every kind of table that a command prints, as it came from the built-in model, at every width and in a real terminal."""

from __future__ import annotations

import subprocess
import sys

import pytest
from rich.cells import cell_len
from tests.render.kept import printed
from tests.render.terminals import WIDTHS, environment, in_terminal

from rankone.render.columns import is_words
from rankone.render.terminal import layout, plain
from rankone.verbs.table import VERBS

PRINTED = printed()
# Verbs whose tables are not kept: they print none, draw them beside text (investigate, show), take longer than a look at a
# table is worth, or need what no test has (published runs, tasks of another harness).
NOT_KEPT = {
    *("bench", "generate", "import", "investigate", "lm-eval", "merge-harvest"),
    *("pretrain", "reproduce", "select-rates", "show", "toys"),
}
SCRIPT = """
from tests.render.kept import printed
from rankone.runtime.progress import console
for _, table in printed():
    console.print(table)
"""


def words_of(table, place):
    return {word for row in table.rows for word in table.columns[place].text(row[place]).split()}


def test_every_verb_is_here_or_said_to_be_left_out():
    assert {command.split()[0] for command, _ in PRINTED} == set(VERBS) - NOT_KEPT


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("command", "table"), PRINTED, ids=[f"{c} {t.title}"[:70] for c, t in PRINTED])
def test_no_number_is_cut_the_key_stays_and_what_is_left_out_is_said(command, table, width):
    shown, fitted = plain(table, width), layout(table, width)
    assert max(map(cell_len, shown.splitlines())) <= width
    assert {i for i, column in enumerate(table.columns) if column.key} <= set(fitted.shown)
    said = set(shown.split())
    for i in fitted.shown:
        if not is_words(table, i) and table.columns[i].format not in ("bar", "level"):
            assert words_of(table, i) <= said, (command, table.columns[i].name)
    left = [column.name for i, column in enumerate(table.columns) if i not in fitted.shown]
    assert (f"no room at {width} columns for:" in shown) == bool(left)
    below = "".join(shown.partition("no room at")[2].split())
    assert all("".join(name.split()) in below for name in left)


@pytest.mark.parametrize("width", WIDTHS)
def test_in_a_real_terminal(width):
    shown = in_terminal(width, SCRIPT).replace("\r\n", "\n")
    for _, table in PRINTED:
        assert plain(table, width) in shown


def test_in_a_pipe():
    for columns, width in ((None, 150), ("60", 60)):
        more = {} if columns is None else {"COLUMNS": columns}
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=environment(**more),
            capture_output=True,
            text=True,
            check=True,
        )
        assert all(plain(table, width) in ran.stdout for _, table in PRINTED)


def test_a_search_says_at_eighty_columns_where_every_part_fires():
    (table,) = (table for command, table in PRINTED if command.startswith("search"))
    shown = {table.columns[i].name for i in layout(table, 80).shown}
    assert shown >= {"label", "name", "conf.", "de", "en", "fr", "es", "it", "nl", "sv", "code"}
