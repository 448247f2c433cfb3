"""What a check-up found of one thing: a line that says how it is and, where it is not well, what to do."""

from __future__ import annotations

from collections.abc import Generator
from typing import Literal, TypeVar

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.runtime.progress import meter

T = TypeVar("T")
Status = Literal["ok", "note", "wrong"]


class Finding(Config):
    """One line. check: what was looked at; note: works, but should be known; mend: what to do, where something is."""

    check: str
    status: Status
    said: str
    mend: str = ""


def ok(check: str, said: str) -> Finding:
    """As it should be."""
    return Finding(check=check, status="ok", said=said)


def note(check: str, said: str, mend: str = "") -> Finding:
    """Works, but should be known."""
    return Finding(check=check, status="note", said=said, mend=mend)


def wrong(check: str, said: str, mend: str) -> Finding:
    """Does not work until it is mended."""
    return Finding(check=check, status="wrong", said=said, mend=mend)


def refused(check: str, error: RankOneError) -> Finding:
    """What a reader refused: its words, the last sentence as the mend."""
    said, dot, mend = str(error).rpartition(". ")
    return wrong(check, said + dot.strip(), mend) if said else wrong(check, mend, "")


def counted(findings: Generator[Finding, None, T], expected: int) -> Generator[Finding, None, T]:
    """The findings, and what their generator returns; each is a step of the progress bar, of about `expected`."""
    with meter("checks", expected) as bar:
        while True:
            try:
                finding = next(findings)
            except StopIteration as end:
                return end.value
            bar.advance(1, finding.check)
            yield finding
