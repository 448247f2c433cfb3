"""Progress bars and tables on the terminal; plain lines where there is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from rankone.core.escaping import visible

# Where nothing tells a width (a pipe, a log) tables get room for their columns.
_PIPED_WIDTH = 150
console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


class Meter:
    """One progress bar; off a terminal it prints a line at every tenth of the way instead."""

    def __init__(self, bar: Progress | None, title: str, total: int) -> None:
        self._bar, self._title, self._total = bar, title, max(total, 1)
        self._task = bar.add_task(title, total=self._total, note="") if bar else None
        self._done = 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move on by `steps` and show `note` (the numbers that matter)."""
        before, self._done = self._done, self._done + steps
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=steps, note=note)
        elif before * 10 // self._total != self._done * 10 // self._total:
            console.print(f"{self._title}: {self._done}/{self._total} {note}", markup=False)


@contextmanager
def meter(title: str, total: int) -> Iterator[Meter]:
    """Show progress of `total` steps while the block runs."""
    if not console.is_terminal:
        yield Meter(None, title, total)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        yield Meter(bar, title, total)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = ""
) -> None:
    """Print a table; the first column is left-aligned, the others right-aligned."""
    table = Table()
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold", no_wrap=i > 0)
    for row in rows:
        # Text, not str: a cell may quote a corpus, and brackets in it are no markup.
        table.add_row(*(Text(_cell(value)) for value in row))
    # Title and caption as lines of their own: inside the table they would wrap at its width.
    console.print(f"\n{title}", style="bold", markup=False)
    console.print(table)
    if caption:
        console.print(caption, style="dim", markup=False)


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}" if value == 0 or 0.001 <= abs(value) < 1000 else f"{value:.3g}"
    return visible(value)


def format_values(values: Mapping[str, float]) -> str:
    """`name value` pairs in one short line, for a meter's note."""
    return " · ".join(f"{k} {v:.4g}" for k, v in values.items())
