"""Temporary folders that can be told from those of others, and of a running process from those of a killed one.

A scratch folder is `rankone-WHAT-XXXXXXXXCCCCCCCC` in the system's temporary directory (X: chance, C: the check of
core/paths.py) and holds a locked file. The lock dies
with its process; what a killed one left is found by `stray_scratch` (`rankone doctor --clean`). One killed before it had its
lock left an empty folder.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from rankone.core.claims import is_locked
from rankone.core.paths import chance, checked

_LOCK = ".rankone-scratch"
_TO_LOCK = 60.0  # seconds; it takes none
_KIND = "scratch"
_NAME = re.compile(r"rankone-(?P<what>[a-z]+)-(?P<chance>[0-9a-f]{8})(?P<check>[0-9a-f]{8})")


class Scratch:
    """A temporary folder at `path`, held until `close`."""

    def __init__(self, what: str) -> None:
        drawn = chance()
        self.path = Path(tempfile.gettempdir()) / f"rankone-{what}-{drawn}{checked(what, _KIND, drawn)}"
        self.path.mkdir(0o700)
        self._removal = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)
        self._lock = FileLock(self.path / _LOCK, thread_local=False)
        self._lock.acquire()

    def close(self) -> None:
        """Remove the folder."""
        self._lock.release()
        self._removal()


@contextmanager
def scratch(what: str) -> Iterator[Path]:
    """A temporary folder for the length of the block; `what` stands in its name."""
    made = Scratch(what)
    try:
        yield made.path
    finally:
        made.close()


def stray_scratch() -> list[Path]:
    """Scratch folders of killed processes of this user in the temporary directory."""
    folders = []
    for path in sorted(Path(tempfile.gettempdir()).glob("rankone-*")):
        lock = path / _LOCK
        if not _is_scratch(path.name) or path.is_symlink() or not path.is_dir() or not _is_own(path):
            continue
        if not is_locked(lock) if lock.is_file() else _is_abandoned(path):
            folders.append(path)
    return folders


def _is_scratch(name: str) -> bool:
    match = _NAME.fullmatch(name)
    return match is not None and match["check"] == checked(match["what"], _KIND, match["chance"])


def _is_abandoned(folder: Path) -> bool:
    """Whether a folder is empty, and old enough that no process is about to put its lock there."""
    return not any(folder.iterdir()) and time.time() - folder.stat().st_mtime > _TO_LOCK


def _is_own(path: Path) -> bool:
    user = getattr(os, "getuid", None)
    return user is None or path.stat().st_uid == user()
