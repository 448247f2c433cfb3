"""The journal of edits: `edits.jsonl`, to which lines are only ever added; undo and redo are lines too."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from rankone.core.config import Record
from rankone.core.errors import RankOneError
from rankone.core.escaping import clipped
from rankone.studio.kept.lines import Line, Lines

FILE = "edits.jsonl"
# Characters of an edit's name.
LONGEST = 300
Kind = Literal["set", "undo", "redo"]


class Entry(Line):
    """A line: dials that were kept, or a step back or forth among those."""

    kind: Kind
    name: str = ""
    scales: dict[str, float] = Field(default_factory=dict)


class JournalView(Record):
    """All kept edits, the last that stands now, and whether a step back or forth is there.

    last: number of the last line; undone: numbers of the edits that do not stand.
    """

    entries: tuple[Entry, ...]
    last: int
    current: int | None
    undone: tuple[int, ...]
    can_undo: bool
    can_redo: bool


class Journal:
    """The lines of one workspace; several threads may read and add."""

    def __init__(self, folder: Path) -> None:
        self._lines = Lines(folder / FILE, Entry, "journal")

    @property
    def path(self) -> Path:
        """The file."""
        return self._lines.path

    @property
    def last(self) -> int:
        """Number of the last line; 0 of an empty journal."""
        return self._lines.last

    def kept(self, seq: int) -> Entry:
        """The dials that were kept as this line; RankOneError for any other number."""
        for entry in self._lines.all:
            if entry.seq == seq and entry.kind == "set":
                return entry
        raise RankOneError(f"the journal has no edit {seq}. Choose one of its list.")

    def add(self, scales: dict[str, float], name: str, after: int) -> Entry:
        """Keep dials, their name inert; Conflict where a line came after the one the page has seen."""
        return self._write("set", after, clipped(name, LONGEST), scales)

    def undo(self, after: int) -> Entry:
        """Take the last kept dials back; RankOneError where there is nothing to take back."""
        if not self._stacks()[0]:
            raise RankOneError("there is nothing to undo.")
        return self._write("undo", after)

    def redo(self, after: int) -> Entry:
        """Bring back what was undone last; RankOneError where nothing was, or something was kept since."""
        if not self._stacks()[1]:
            raise RankOneError("there is nothing to redo.")
        return self._write("redo", after)

    def state(self) -> JournalView:
        """For a page."""
        done, undone = self._stacks()
        entries = tuple(e for e in self._lines.all if e.kind == "set")
        return JournalView(
            entries=entries,
            last=self.last,
            current=done[-1] if done else None,
            undone=tuple(e.seq for e in entries if e.seq not in done),
            can_undo=bool(done),
            can_redo=bool(undone),
        )

    def _stacks(self) -> tuple[list[int], list[int]]:
        """Numbers of the edits that stand, the last on top, and of those that were undone."""
        done: list[int] = []
        undone: list[int] = []
        for entry in self._lines.all:
            if entry.kind == "set":
                done, undone = [*done, entry.seq], []
            elif entry.kind == "undo" and done:
                undone.append(done.pop())
            elif entry.kind == "redo" and undone:
                done.append(undone.pop())
        return done, undone

    def _write(self, kind: Kind, after: int, name: str = "", scales: dict[str, float] | None = None) -> Entry:
        return self._lines.add(
            after, lambda seq, time: Entry(seq=seq, time=time, kind=kind, name=name, scales=scales or {})
        )
