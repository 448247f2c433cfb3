"""Names of what RankOne makes beside an output: of a run that goes on, and of what is there for a while.

No look tells the latter from a user's files, a check does: `.NAME.rankone-KIND-XXXXXXXXCCCCCCCC` is a thing of a kind that
belongs to NAME, X is chance, C the hash of all three. A claim has no X, so that every process finds the same one. What only
looks like it (a dated backup) is never taken for ours.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shlex
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(
    r"\.(?P<name>.+)\.rankone-(?P<kind>[a-z]+)-(?P<chance>[0-9a-f]{8}|)(?P<check>[0-9a-f]{8})", re.DOTALL
)
CLAIM, PARTIAL, OLD = "claim", "partial", "old"


class Hidden(NamedTuple):
    """What a hidden name says: the name of the output it belongs to, and its kind."""

    name: str
    kind: str


def hidden_name(name: str, kind: str, chance: str = "") -> str:
    """The hidden name of a kind of thing that belongs to `name`."""
    return f".{name}.rankone-{kind}-{chance}{checked(name, kind, chance)}"


def read_hidden(entry: str) -> Hidden | None:
    """What a name of a file or folder says; None for one that RankOne has not made."""
    match = _NAME.fullmatch(entry)
    if match is None or match["check"] != checked(match["name"], match["kind"], match["chance"]):
        return None
    return Hidden(match["name"], match["kind"])


def hidden_folder(path: Path, kind: str) -> Path:
    """A new folder beside `path`, only this user's."""
    while True:
        folder = path.parent / hidden_name(path.name, kind, chance())
        try:
            folder.mkdir(0o700)
        except FileExistsError:
            continue
        return folder


def hidden_file(path: Path, kind: str) -> tuple[int, Path]:
    """A new file beside `path`, only this user's, open to write: its descriptor and path."""
    while True:
        file = path.parent / hidden_name(path.name, kind, chance())
        try:
            return os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600), file
        except FileExistsError:
            continue


def chance() -> str:
    """Eight digits that nobody has chosen."""
    return secrets.token_hex(4)


def checked(name: str, kind: str, drawn: str) -> str:
    """The check of a name."""
    return hashlib.sha256(f"rankone {kind} {drawn} {name}".encode("utf8", "surrogateescape")).hexdigest()[:8]


def typed(path: Path | str) -> str:
    """A path as it is typed after a command: in quotes where a shell would split it."""
    return shlex.quote(str(path))


def run_directory(out: Path) -> Path:
    """Where the run that makes `out` keeps what it needs to go on: beside it, as `out.run`."""
    return out.with_name(out.name + ".run")
