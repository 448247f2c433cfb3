"""How far a run is, on standard error; what the library has to say meanwhile goes to `log` and comes out there too.

Results go to standard output (`console`), so that a pipe gets them alone. `quiet` is the one switch: no bar, no line,
warnings only.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from rankone.core.escaping import visible

log = logging.getLogger("rankone")
# Where nothing states a width (a pipe, a log) tables get room for their columns.
_PIPED_WIDTH = 150
# Cells of `12:34 left of 56:07`, the longest that a clock of less than an hour says.
_CLOCK = 19
SHORT = 5.0
"""Seconds that a command may take without a word."""


def _told_width(terminal: bool) -> int | None:
    """None where rich finds the width itself: from a terminal, or from COLUMNS."""
    return None if terminal or os.environ.get("COLUMNS", "").isdigit() else _PIPED_WIDTH


console = Console(highlight=False, width=_told_width(sys.stdout.isatty()))
"""Standard output, for results."""
aside = Console(highlight=False, stderr=True, width=_told_width(sys.stderr.isatty()))
"""Standard error, for progress."""


class _Aside(logging.Handler):
    """Log lines above a running bar; warnings in bold."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "bold" if record.levelno >= logging.WARNING else "dim"
        aside.print(visible(self.format(record)), style=style, markup=False, soft_wrap=True)


def report(quiet: bool = False) -> None:
    """Show the library's log on standard error, as the command line does; with `quiet` only warnings, and no progress."""
    log.handlers = [h for h in log.handlers if not isinstance(h, _Aside)] + [_Aside()]
    log.setLevel(logging.WARNING if quiet else logging.INFO)


@contextmanager
def silenced(silent: bool) -> Iterator[None]:
    """Say nothing at all, results included, while the block runs in a process that is not the one that talks."""
    before = console.quiet, aside.quiet
    console.quiet = aside.quiet = silent
    try:
        yield
    finally:
        console.quiet, aside.quiet = before


class Meter:
    """One progress bar; off a terminal it prints a line at every tenth of the way instead."""

    def __init__(self, bar: Progress | None, title: str, total: int, after: float = 0.0) -> None:
        self._bar, self._title, self._total, self._after = bar, title, max(total, 1), after
        self._task = bar.add_task(title, total=self._total, note="") if bar else None
        self._done, self._start = 0, time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move on by `steps` and show `note` (the numbers that matter)."""
        before, self._done = self._done, self._done + steps
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=steps, note=_cut(note, self._room()))
        elif not is_quiet() and before * 10 // self._total != self._done * 10 // self._total:
            spent = time.monotonic() - self._start
            if spent < self._after:
                return
            left = spent * (self._total - self._done) / max(self._done, 1)
            words = [f"{self._title}: {self._done}/{self._total}", _clock(spent, left), note]
            aside.print("  ".join(filter(None, words)), markup=False, soft_wrap=True)

    def finish(self) -> None:
        """Full, however the steps were reckoned beforehand: the work is done."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, total=max(self._done, 1), completed=max(self._done, 1))

    def _room(self) -> int:
        """Cells that title, bar, counts and clock leave to a note on one line."""
        counts = 2 * len(str(self._total)) + 1
        return aside.width - cell_len(self._title) - _bar_width() - counts - _CLOCK - 5


@contextmanager
def meter(title: str, total: int, after: float = 0.0) -> Iterator[Meter]:
    """Show progress of `total` steps on standard error while the block runs.

    after: seconds before which no line is printed off a terminal, for what is mostly short.
    """
    if is_quiet() or not aside.is_terminal:
        yield Meter(None, title, total, after)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=_bar_width()),
        MofNCompleteColumn(),
        _Clock(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=aside) as bar:
        made = Meter(bar, title, total)
        yield made
        made.finish()


def format_values(values: Mapping[str, float]) -> str:
    """`name value` pairs in one short line, for a meter's note."""
    return " · ".join(f"{k} {v:.4g}" for k, v in values.items())


def _bar_width() -> int:
    """Of the bar itself, in cells: on a narrow terminal the numbers need the room."""
    return 24 if aside.width >= 100 else 12


def _cut(note: str, room: int) -> str:
    """A note that fits into `room` cells, its end left out where it must be."""
    cut = Text(note)
    cut.truncate(max(room, 1), overflow="ellipsis")
    return cut.plain


class _Clock(ProgressColumn):
    """Time left of the time it takes in all."""

    def render(self, task: Task) -> Text:
        if task.elapsed is None or task.time_remaining is None:
            return Text("")
        return Text(_clock(task.elapsed, task.time_remaining), style="dim")


def _clock(spent: float, left: float) -> str:
    """`0:40 left of 1:30`; once nothing is left, how long it took."""
    return f"{_minutes(left)} left of {_minutes(spent + left)}" if left else f"took {_minutes(spent)}"


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def is_quiet() -> bool:
    """Whether nothing but warnings is to be said."""
    return log.level > logging.INFO
