"""How often validation text was looked at in a workspace: whoever turns dials by its figures tunes on it."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import Field

from rankone.core.config import Config, Record
from rankone.core.errors import RankOneError
from rankone.core.files import read_json, write_json
from rankone.runtime.progress import log

# Seconds between two writes of the file: a dial moves twenty times in one.
REST = 1.0


class Counts(Config):
    """By what was asked (dials, a part's response, a verb): how often it showed figures of validation text."""

    by: dict[str, int] = Field(default_factory=dict)


class Looked(Record):
    """How often in all, and by what was asked."""

    total: int
    by: dict[str, int]


class Looks:
    """The counter of one workspace, `looks.json`; it goes on where the last studio ended."""

    def __init__(self, folder: Path) -> None:
        self._path, self._written = folder / "looks.json", 0.0
        kept = Counts.checked(read_json(self._path), str(self._path)) if self._path.exists() else Counts()
        self._by = dict(kept.by)
        self._dirty, self._writable = False, True

    def count(self, what: str) -> int:
        """One more; how many there are."""
        self._by[what] = self._by.get(what, 0) + 1
        self._dirty = True
        if time.monotonic() - self._written > REST:
            self.write()
        return self.total

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self._by.values())

    def write(self) -> None:
        """Put the counts on disk, where they changed; what cannot be written is said once and takes no figure away."""
        if not self._dirty or not self._path.parent.parent.is_dir():
            return
        self._written = time.monotonic()
        try:
            write_json(self._path, Counts(by=self._by).model_dump())
            self._dirty, self._writable = False, True
        except (OSError, RankOneError) as error:
            if self._writable:
                log.warning(f"looks at validation text are counted, but no longer written down: {error}")
            self._writable = False

    def state(self) -> Looked:
        """For a page."""
        return Looked(total=self.total, by=dict(self._by))
