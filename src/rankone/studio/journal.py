"""The journal of edits: `edits.jsonl`, to which lines are only ever added; undo and redo are lines too."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Literal

from pydantic import Field, JsonValue, ValidationError

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.files import require_folder

FILE = "edits.jsonl"


class Conflict(RankOneError):
    """Another page has written to the journal meanwhile."""


class Entry(Config):
    """A line: dials that were kept, or a step back or forth among those. seq counts lines from 1."""

    seq: int
    time: str
    kind: Literal["set", "undo", "redo"]
    name: str = ""
    scales: dict[str, float] = Field(default_factory=dict)


class Journal:
    """The lines of one workspace; several threads may read and add."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = Lock()
        self._entries, self._whole = _read(self.path) if self.path.exists() else ([], 0)

    @property
    def last(self) -> int:
        """Number of the last line; 0 of an empty journal."""
        return self._entries[-1].seq if self._entries else 0

    def kept(self, seq: int) -> Entry:
        """The dials that were kept as this line; RankOneError for any other number."""
        for entry in self._entries:
            if entry.seq == seq and entry.kind == "set":
                return entry
        raise RankOneError(f"the journal has no edit {seq}. Choose one of its list.")

    def add(self, scales: dict[str, float], name: str, after: int) -> Entry:
        """Keep dials; Conflict where a line came after the one the page has seen."""
        return self._write("set", after, name, scales)

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

    def state(self) -> dict[str, JsonValue]:
        """For a page: all kept edits, which one stands now, and whether a step back or forth is there."""
        done, undone = self._stacks()
        return {
            "entries": [e.model_dump(mode="json") for e in self._entries if e.kind == "set"],
            "last": self.last,
            "current": done[-1] if done else None,
            "can_undo": bool(done),
            "can_redo": bool(undone),
        }

    def _stacks(self) -> tuple[list[int], list[int]]:
        """Numbers of the edits that stand, the last on top, and of those that were undone."""
        done: list[int] = []
        undone: list[int] = []
        for entry in self._entries:
            if entry.kind == "set":
                done, undone = [*done, entry.seq], []
            elif entry.kind == "undo" and done:
                undone.append(done.pop())
            elif entry.kind == "redo" and undone:
                done.append(undone.pop())
        return done, undone

    def _write(
        self,
        kind: Literal["set", "undo", "redo"],
        after: int,
        name: str = "",
        scales: dict[str, float] | None = None,
    ) -> Entry:
        with self._lock:
            if after != self.last:
                raise Conflict("another page has changed the journal meanwhile; it is shown anew. Try again.")
            now = datetime.now(UTC).isoformat(timespec="seconds")
            entry = Entry(seq=self.last + 1, time=now, kind=kind, name=name, scales=scales or {})
            require_folder(self.path.parent.parent)
            self.path.parent.mkdir(exist_ok=True)
            line = (entry.model_dump_json() + "\n").encode()
            with self.path.open("r+b" if self.path.exists() else "xb") as file:
                file.seek(self._whole)
                file.truncate()  # half a line of a killed writer
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            self._whole += len(line)
            self._entries.append(entry)
            return entry


def _read(path: Path) -> tuple[list[Entry], int]:
    """The lines and their bytes; one cut off by a kill is left out, any other that does not fit is refused by number."""
    raw = path.read_bytes()
    whole = raw.rfind(b"\n") + 1
    entries: list[Entry] = []
    for number, line in enumerate(raw[:whole].splitlines(), start=1):
        try:
            entries.append(Entry.model_validate(json.loads(line)))
        except (ValueError, ValidationError) as error:
            raise RankOneError(
                f"line {number} of '{path}' is no entry of a journal. Mend or remove the file."
            ) from error
    return entries, whole
