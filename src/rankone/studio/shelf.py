"""What lies in a workspace: artefacts by the fingerprint of their contents, and the pages of results; ids, never paths."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from rankone.core.config import Record
from rankone.core.errors import RankOneError
from rankone.core.escaping import clipped
from rankone.core.manifest import MANIFEST, Manifest, artefact_kind, check_listed, read_manifest
from rankone.doctor.cut import require_whole

# Folders below the workspace that are looked into, and how many artefacts are listed.
DEPTH, MOST = 3, 500
PAGE = "index.html"
# Characters of a kind that nobody has checked.
_KIND = 40

# Of every file its name, when it was changed, and its size.
Stamp = tuple[tuple[str, str, int], ...]


class Shelved(Record):
    """An artefact. id: the start of its fingerprint, or for a broken one of its place. broken: what is wrong with it;
    kind: then what its manifest says, where it says any.

    hashed: whether the contents of its files were compared with its manifest; else only that they are there and, by their
    headers, whole.
    """

    id: str
    name: str
    kind: str
    size: int
    page: bool = False
    broken: str = ""
    hashed: bool = False


class Shelf:
    """The artefacts of a workspace, as they lie there when `list` is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, Path] = {}
        self._verdicts: dict[Path, tuple[Stamp, str]] = {}
        self._glances: dict[Path, tuple[Stamp, str]] = {}

    def list(self) -> list[Shelved]:
        """All of them by name; a broken one with the reason, the rest as usual."""
        places: dict[str, Path] = {}
        shelved = []
        for path in _folders(self.folder, DEPTH):
            entry = self._entry(path)
            places[entry.id] = path
            shelved.append(entry)
            if len(shelved) == MOST:
                break
        self._places = places
        return sorted(shelved, key=lambda entry: entry.name)

    def check(self, kind: str = "") -> list[Shelved]:
        """All of them as by `list`, the contents of their files compared with their manifests, once as long as they stay.

        kind: of which alone files are read.
        """
        unread = (one for one in self.list() if not (one.broken or one.hashed) and kind in ("", one.kind))
        for path in [self._places[entry.id] for entry in unread]:
            manifest, said = read_manifest(path), ""
            stamp = _stamp(path, manifest)
            try:
                check_listed(path, manifest)
            except RankOneError as error:
                said = str(error)
            self._verdicts[path] = stamp, said
        return self.list()

    def place(self, id_: str) -> Path:
        """Where the artefact of this id lies; RankOneError for an id that was not listed."""
        if id_ not in self._places:
            self.list()
        if id_ not in self._places:
            raise RankOneError("no artefact of that id in this workspace. Reload the list.")
        return self._places[id_]

    def page(self, id_: str) -> bytes:
        """The page of a result; RankOneError where it has none."""
        path = self.place(id_) / PAGE
        if path.is_symlink() or not path.is_file():
            raise RankOneError("this artefact has no page.")
        return path.read_bytes()

    def _entry(self, path: Path) -> Shelved:
        name = path.relative_to(self.folder).as_posix()
        size = sum(f.stat().st_size for f in path.iterdir() if f.is_file() and not f.is_symlink())
        page = (path / PAGE).is_file()
        try:
            manifest = read_manifest(path)
            stamp = _stamp(path, manifest)
        except RankOneError as error:
            here = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
            kind = clipped(artefact_kind(path) or "?", _KIND)
            return Shelved(id=here[:16], name=name, kind=kind, size=size, broken=str(error))
        here = hashlib.sha256((name + manifest.fingerprint).encode(errors="surrogateescape"))
        judged, said = self._verdicts.get(path, (None, ""))
        hashed = judged == stamp
        return Shelved(
            id=here.hexdigest()[:16],
            name=name,
            kind=manifest.kind,
            size=size,
            page=page,
            broken=said if hashed else self._glance(path, manifest, stamp),
            hashed=hashed,
        )

    def _glance(self, path: Path, manifest: Manifest, stamp: Stamp) -> str:
        """Which of its files is seen to be cut short, looked at once as long as they stay; '' for none."""
        looked, said = self._glances.get(path, (None, ""))
        if looked != stamp:
            try:
                require_whole(path, manifest)
            except RankOneError as error:
                said = str(error)
            else:
                said = ""
            self._glances[path] = stamp, said
        return said


def _stamp(path: Path, manifest: Manifest) -> Stamp:
    """By what is seen that a file is another one; RankOneError for one that is not there."""
    stamp = [(MANIFEST, manifest.fingerprint, 0)]
    for name in manifest.files:
        try:
            stat = (path / name).stat()
        except OSError as error:
            raise RankOneError(
                f"'{path}' lacks its file '{name}'. Restore the artefact from its source."
            ) from error
        stamp.append((name, str(stat.st_mtime_ns), stat.st_size))
    return tuple(stamp)


def _folders(folder: Path, depth: int) -> Iterator[Path]:
    """Folders with a manifest, no deeper than `depth`; neither hidden ones nor what links lead to."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
            continue
        path = Path(entry.path)
        if (path / MANIFEST).is_file():
            yield path
        elif depth > 1:
            yield from _folders(path, depth - 1)
