"""Labels that were corrected by hand: lines beside the harvest that they are of, which itself is never written to."""

from __future__ import annotations

import getpass
from pathlib import Path

from rankone.core.config import Record
from rankone.core.escaping import clipped
from rankone.studio.kept.lines import Line, Lines

LONGEST = 200


class Correction(Line):
    """What somebody calls a part; '' takes the correction back. instead: the label that stood there."""

    part: str
    label: str
    instead: str
    author: str


class CorrectionsView(Record):
    """The last line's number, and by part the correction that counts."""

    last: int
    parts: dict[str, Correction]


class Corrections:
    """All corrections of the labels of one list of parts; the last one of a part counts."""

    def __init__(self, path: Path) -> None:
        self._lines = Lines(path, Correction, "corrections of labels")

    @classmethod
    def of(cls, harvest: Path | None, folder: Path) -> Corrections:
        """Those of a harvest, `HARVEST.labels.jsonl` beside it; without one those kept in `folder`."""
        beside = None if harvest is None else harvest.with_name(f"{harvest.name}.labels.jsonl")
        return cls(beside or folder / "labels.jsonl")

    def add(self, part: str, label: str, instead: str, after: int) -> Correction:
        """Write one; Conflict where another page has written after line `after`."""
        said, before = (clipped(text, LONGEST) for text in (label, instead))
        return self._lines.add(
            after,
            lambda seq, time: Correction(
                seq=seq, time=time, part=part, label=said, instead=before, author=_author()
            ),
        )

    def state(self) -> CorrectionsView:
        """For a page."""
        last = {line.part: line for line in self._lines.all}
        return CorrectionsView(
            last=self._lines.last, parts={part: line for part, line in last.items() if line.label}
        )


def _author() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
