"""What killed runs left: unfinished folders and files beside their outputs, and scratch folders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from rankone.core.claims import clean, leftovers
from rankone.core.config import Config
from rankone.runtime.scratch import stray_scratch


class Stray(Config):
    """A leftover of a killed run. size: bytes; removed: whether it is gone now."""

    path: Path
    size: int
    removed: bool


def stray(place: Path) -> list[Stray]:
    """Leftovers in `place` and below it, and in the temporary directory; nothing of a running process, nothing removed."""
    return [Stray(path=path, size=_size(path), removed=False) for path in _leftovers(place)]


def remove_stray(place: Path) -> list[Stray]:
    """Remove what `stray` finds; an artefact that was set aside for a successor that never came is put back."""
    strays = stray(place)
    clean(place)
    for path in stray_scratch():
        shutil.rmtree(path, ignore_errors=True)
    return [one.model_copy(update={"removed": not one.path.exists()}) for one in strays]


def _leftovers(place: Path) -> Iterator[Path]:
    yield from leftovers(place)
    yield from stray_scratch()


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(f.lstat().st_size for f in files if f.is_file())
