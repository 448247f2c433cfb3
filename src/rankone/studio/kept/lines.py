"""A file of JSON lines to which lines are only ever added, with numbers, so that two pages do not write past each other."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from pydantic import ValidationError

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.files import require_folder
from rankone.core.foreign import one_error_type


class Line(Config):
    """What every line has: its number from 1, and when it was written (UTC)."""

    seq: int
    time: str


class Conflict(RankOneError):
    """Another page has written to the file meanwhile."""


LineT = TypeVar("LineT", bound=Line)


class Lines(Generic[LineT]):
    """The lines of one file; several threads may read and add. what: how the file is called in messages."""

    def __init__(self, path: Path, kind: type[LineT], what: str) -> None:
        self.path, self._kind, self._what = path, kind, what
        self._lock = Lock()
        self.all: tuple[LineT, ...] = ()
        self._whole = 0
        if path.exists():
            self._read()

    @property
    def last(self) -> int:
        """Number of the last line; 0 where there is none."""
        return self.all[-1].seq if self.all else 0

    def add(self, after: int, make: Callable[[int, str], LineT]) -> LineT:
        """Write the line that `make` makes of its number and time; Conflict where one came after line `after`."""
        with self._lock:
            if after != self.last:
                raise Conflict(
                    f"another page has changed the {self._what} meanwhile; it is shown anew. Try again."
                )
            line = make(self.last + 1, datetime.now(UTC).isoformat(timespec="seconds"))
            with one_error_type(f"the {self._what} cannot be written"):
                require_folder(self.path.parent.parent)
                self.path.parent.mkdir(exist_ok=True)
                content = (line.model_dump_json() + "\n").encode()
                with self.path.open("r+b" if self.path.exists() else "xb") as file:
                    file.seek(self._whole)
                    file.truncate()  # half a line of a killed writer
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            self._whole += len(content)
            self.all = (*self.all, line)
            return line

    def _read(self) -> None:
        """The whole lines; one cut off by a kill is left out, any other that does not fit is refused by number."""
        raw = self.path.read_bytes()
        self._whole = raw.rfind(b"\n") + 1
        for number, line in enumerate(raw[: self._whole].splitlines(), start=1):
            try:
                self.all = (*self.all, self._kind.model_validate(json.loads(line)))
            except (ValueError, ValidationError) as error:
                raise RankOneError(
                    f"line {number} of '{self.path}' is not an entry of the {self._what}. Mend or remove the file."
                ) from error
