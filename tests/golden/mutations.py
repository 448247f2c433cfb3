"""Copies of golden artefacts with something wrong in them, signed anew so that no hash catches it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rankone.core.artifact import MANIFEST
from rankone.core.manifest import hashed_files

ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**40,
    1.5,
    "",
    "x" * 300,
    "\u0000",
    [],
    {},
    [[]],
    {"a": {}},
    1e308,
)


def mutated(source: Path, folder: Path, seed: int) -> str:
    """A copy of an artefact at `folder` with one fault drawn from the seed; returns what was done."""
    draw = random.Random(seed)
    shutil.copytree(source, folder)
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != MANIFEST]
    manifest = folder / MANIFEST
    chosen = manifest if manifest.exists() and draw.random() < 0.15 else draw.choice(files)
    said = f"{source.name}/{chosen.name}: {_damage(chosen, draw)}"
    if manifest.exists() and chosen != manifest:
        _sign(folder, manifest)
    return said


def _sign(folder: Path, manifest: Path) -> None:
    values = json.loads(manifest.read_text("utf8"))
    manifest.unlink()
    values["files"] = hashed_files(folder)
    manifest.write_text(json.dumps(values), "utf8")


def _damage(path: Path, draw: random.Random) -> str:
    kinds: list[Callable[[Path, random.Random], str]] = [_cut, _bytes, _empty, _gone]
    if path.suffix == ".json":
        kinds += [_value, _value, _value, _value]
    return draw.choice(kinds)(path, draw)


def _cut(path: Path, draw: random.Random) -> str:
    content = path.read_bytes()
    path.write_bytes(content[: draw.randrange(max(1, len(content)))])
    return "cut"


def _bytes(path: Path, draw: random.Random) -> str:
    content = bytearray(path.read_bytes())
    # Headers, where a file's structure is, as often as the rest.
    reach = min(len(content), draw.choice((64, 1024, len(content) or 1)))
    for _ in range(draw.choice((1, 4, 32)) if reach else 0):
        content[draw.randrange(reach)] = draw.randrange(256)
    path.write_bytes(content)
    return "other bytes"


def _empty(path: Path, draw: random.Random) -> str:
    path.write_bytes(draw.choice((b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 5000)))
    return "other content"


def _gone(path: Path, draw: random.Random) -> str:
    del draw
    path.unlink()
    return "removed"


def _value(path: Path, draw: random.Random) -> str:
    values = json.loads(path.read_text("utf8"))
    places = list(_places(values))
    if not places:
        return _empty(path, draw)
    holder, key = draw.choice(places)
    if draw.random() < 0.3:
        del holder[key]
        said = f"without {key!r}"
    else:
        holder[key] = draw.choice(ODD)
        said = f"{key!r} = {str(holder[key])[:40]!r}"
    path.write_text(json.dumps(values), "utf8")
    return said


def _places(values: Any) -> Any:
    items = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    for key, value in list(items):
        yield values, key
        yield from _places(value)
