"""Tables on a terminal of any width: columns go by priority and the table says so, no number is cut."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from rankone.core.escaping import visible
from rankone.render.bars import bar, level
from rankone.render.columns import BAR, LEVEL, Column, Tabular, Value, is_words, share
from rankone.runtime import progress
from rankone.runtime.progress import aside

_GAP = 2
_BAR = 20
# A column of words may be narrowed to this before another is left out; the key further, before it is folded. Names of parts
# (contrast-de/h.3.mlp.down_proj:270) are the longest words that are held whole.
_WORDS, _KEY, _LONGEST, _LEAST = 14, 18, 34, 12
_WIDE = 150


@dataclass(frozen=True)
class Layout:
    """Which columns are shown and how wide each is, and the width that would show all of them."""

    shown: tuple[int, ...]
    widths: tuple[int, ...]
    whole: int


def announce(tables: Iterable[Tabular]) -> None:
    """Show tables beside the progress, on standard error: what a long run says before it begins."""
    for table in () if progress.is_quiet() else tables:
        _print(table, aside)


def plain(table: Tabular, width: int = _WIDE) -> str:
    """A table as text without colours."""
    stream = io.StringIO()
    _print(table, Console(file=stream, width=width, highlight=False, color_system=None))
    return stream.getvalue().strip("\n")


def _print(table: Tabular, console: Console) -> None:
    for part in drawn(table, console.width):
        console.print(part)


def drawn(table: Tabular, width: int) -> Iterator[RenderableType]:
    """Title, rows, caption, and which columns were left out, for a console of that width."""
    fitted = layout(table, width)
    # Lines of their own: inside the table they would wrap at its width.
    yield Text(f"\n{visible(table.title)}", style="bold")
    yield _grid(table, fitted)
    for line in table.caption.split("\n") if table.caption else ():
        yield Text(visible(line), style="dim")
    left = [c.name for i, c in enumerate(table.columns) if i not in fitted.shown]
    if left:
        said = f"no room at {width} columns for: {', '.join(left)} ({fitted.whole} show all)"
        yield Text(visible(said), style="italic")


def layout(table: Tabular, width: int) -> Layout:
    """The columns that fit into `width`: the least important go first, keys never; words get what room is left."""
    cells = _cells(table)
    natural = [_natural(c.name, column) for c, column in zip(table.columns, cells, strict=True)]
    words = [is_words(table, i) for i in range(len(table.columns))]
    least = [
        min(n, _least(c, column)) if w else n
        for n, w, c, column in zip(natural, words, table.columns, cells, strict=True)
    ]
    shown = list(range(len(table.columns)))
    while _total(least, shown) > width:
        optional = [i for i in shown if not table.columns[i].key]
        if not optional:
            break
        shown.remove(min(optional, key=lambda i: (table.columns[i].priority, -i)))
    # A key that is a sentence comes first as far as the longest names do, then like others.
    names = [
        max([_LONGEST, *(cell_len(_longest(cell)) for cell in column)]) if c.key else 0
        for c, column in zip(table.columns, cells, strict=True)
    ]
    widths = _grown(table, least, natural, names, shown, width)
    return Layout(tuple(shown), tuple(widths[i] for i in shown), _total(least, range(len(least))))


def _least(column: Column, cells: list[str]) -> int:
    """How far a column of words may be narrowed: words that are not too long, names among them, stay whole."""
    heading = cell_len(_longest(column.name))
    word = max((cell_len(_longest(cell)) for cell in cells), default=0)
    if not column.key:
        return max(_WORDS, heading, word if word <= _LONGEST else 0)
    return max(_KEY, heading, min(_LONGEST, word))


def _grown(
    table: Tabular, least: list[int], natural: list[int], names: list[int], shown: list[int], width: int
) -> list[int]:
    """Words a cell wider at a time, names before others, the most cut first; narrower where even the keys have no room."""
    widths = list(least)
    words = [i for i in shown if is_words(table, i)]
    for _ in range(width - _total(widths, shown)):
        cut = [i for i in words if widths[i] < natural[i]]
        if cut:
            widths[max(cut, key=lambda i: (widths[i] < names[i], natural[i] / widths[i]))] += 1
    for _ in range(_total(widths, shown) - width):
        wide = [i for i in words if widths[i] > _LEAST]
        if wide:
            widths[max(wide, key=lambda i: widths[i])] -= 1
    return widths


def _total(widths: list[int], shown: list[int] | range) -> int:
    return sum(widths[i] for i in shown) + _GAP * (len(shown) - 1)


def _cells(table: Tabular) -> list[list[str]]:
    """Every cell as text, by column."""
    return [[_text(table, i, row) for row in table.rows] for i in range(len(table.columns))]


def _text(table: Tabular, place: int, row: tuple[Value, ...]) -> str:
    column = table.columns[place]
    if column.format == LEVEL:
        return level(share(table, place, row), 1.0)
    return bar(share(table, place, row), 1.0, _BAR) if column.format == BAR else column.text(row[place])


def _natural(name: str, cells: list[str]) -> int:
    """Wide enough for every cell; a heading wraps between its words."""
    return max([cell_len(_longest(visible(name))), *map(cell_len, cells)], default=0)


def _longest(name: str) -> str:
    return max(name.split() or [""], key=cell_len)


def _parted(cell: str, width: int) -> str:
    """A part's name that is too long for its column in two lines, so that its number stays whole."""
    origin, slash, place = cell.rpartition("/")
    fits = (
        slash
        and " " not in cell
        and cell_len(cell) > width
        and max(cell_len(origin) + 1, cell_len(place)) <= width
    )
    return f"{origin}/\n{place}" if fits else cell


def _grid(table: Tabular, fitted: Layout) -> RichTable:
    cells = _cells(table)
    made = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for i, width in zip(fitted.shown, fitted.widths, strict=True):
        left = is_words(table, i) or table.columns[i].format == BAR
        heading = Text(visible(table.columns[i].name))
        made.add_column(heading, justify="left" if left else "right", width=width, overflow="fold")
    for n, row in enumerate(table.rows):
        # Text, not str: a cell may quote a corpus, and brackets in it are not markup.
        styles = ["bold red" if table.columns[i].stands_out(row[i]) else "" for i in fitted.shown]
        texts = [
            Text(_parted(cells[i][n], width), style=s)
            for i, s, width in zip(fitted.shown, styles, fitted.widths, strict=True)
        ]
        made.add_row(*texts, style="bold" if n in table.strong else "")
    return made
