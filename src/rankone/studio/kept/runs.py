"""Runs that lie in the workspace, finished or going on: what they wrote to `metrics.jsonl`, a line a step."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from rankone.core.config import Record
from rankone.core.errors import RankOneError

FILE = "metrics.jsonl"
# Folders below the workspace that are looked into, runs that are listed, bytes of a file's end that are read at once.
DEPTH, MOST, BYTES = 4, 200, 1 << 20
# Points of a curve that are sent; a longer one is thinned evenly.
POINTS = 400
# Seconds since its last line within which a run counts as going on.
FRESH = 60.0


class Run(Record):
    """A run. id: of its place; quiet: seconds since its last line; going: whether that is recent."""

    id: str
    name: str
    quiet: float
    going: bool


class Metrics(Record):
    """Numbers by name, all of the same steps; a step that lacks one has None there."""

    id: str
    steps: tuple[float, ...]
    values: dict[str, tuple[float | None, ...]]


class Runs:
    """The runs of a workspace, as they lie there when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def list(self) -> list[Run]:
        """All of them, the one that wrote last first."""
        listed = []
        for path in _files(self._folder, DEPTH):
            quiet = max(0.0, time.time() - path.stat().st_mtime)
            name = path.parent.relative_to(self._folder).as_posix()
            listed.append(Run(id=_id(name), name=name, quiet=quiet, going=quiet < FRESH))
            if len(listed) == MOST:
                break
        return sorted(listed, key=lambda run: run.quiet)

    def metrics(self, id_: str) -> Metrics:
        """What a run wrote, its end where it is long; RankOneError for an id that is none."""
        for path in _files(self._folder, DEPTH):
            if _id(path.parent.relative_to(self._folder).as_posix()) == id_:
                return _metrics(id_, list(_rows(path)))
        raise RankOneError("no run of that id in this workspace. Reload the list.")


def _metrics(id_: str, rows: list[dict[str, JsonValue]]) -> Metrics:
    every = max(1, -(-len(rows) // POINTS))
    rows = rows[(len(rows) - 1) % every :: every]  # the last one stays
    names = dict.fromkeys(name for row in rows for name, value in row.items() if _is_number(value))
    names.pop("step", None)
    return Metrics(
        id=id_,
        steps=tuple(_number(row.get("step")) or 0.0 for row in rows),
        values={name: tuple(_number(row.get(name)) for row in rows) for name in names},
    )


def _rows(path: Path) -> Iterator[dict[str, JsonValue]]:
    """Whole lines of the file's end; one that is being written, or is none of ours, is left out."""
    with path.open("rb") as stream:
        start = max(0, stream.seek(0, os.SEEK_END) - BYTES)
        stream.seek(start)
        lines = stream.read(BYTES).split(b"\n")
    for line in lines[1:-1] if start else lines[:-1]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            yield row


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: JsonValue) -> float | None:
    """None for what JSON cannot say (NaN, infinity) too."""
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf"):
        return float(value)
    return None


def _id(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """Files of metrics, no deeper than `depth`; neither in hidden folders nor behind links."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name == FILE and entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        elif depth and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), depth - 1)
