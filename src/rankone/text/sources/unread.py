"""What a folder of text holds and is not read: said by name and number, since text passed over in silence is text lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from rankone.core.escaping import visible

_PACKED = (".gz", ".bz2", ".xz", ".lzma", ".lz4", ".br", ".zip", ".7z", ".rar", ".tar", ".tgz")
_TABLES = (".parquet", ".arrow", ".feather", ".csv", ".tsv", ".db", ".sqlite")
_NAMED = 3


class _Kind(Enum):
    """Why something is not read (of one, of several), and the mend; '' where it need not have one."""

    PACKED = (
        "archive",
        "archives",
        "decompress, or compress with zstd (.zst)",
    )
    TABLE = (
        "table",
        "tables",
        "write its texts as .txt or .jsonl",
    )
    INNER = (
        "folder inside a domain's",
        "folders inside a domain's",
        "move the files up, or name such a folder as the text",
    )
    BESIDE = (
        "text beside the domains' folders",
        "texts beside the domains' folders",
        "put into a domain's folder",
    )
    UNMARKED = (
        "file without a split in its name where others have one",
        "files without a split in their names where others have one",
        "name it as SOURCE.train.txt is named",
    )
    OTHER = ("file that is not text", "files that are not text", "")


class Unread(NamedTuple):
    """What is passed over. lost: what holds text, or may, with the mend; other: the rest; '' where there is none."""

    lost: str
    other: str


def unread(
    root: Path,
    files: Mapping[str, Sequence[Path]],
    beside: Sequence[Path] = (),
    unmarked: Sequence[Path] = (),
) -> Unread:
    """What is in `root` and its folders and not read.

    files: by domain, those that are read, save the `unmarked` among them; beside: text files that belong to no domain.
    Hidden files and folders are meant to be left out and count for nothing.
    """
    known = {*chain.from_iterable(files.values()), *beside}
    left = [(_Kind.BESIDE, path) for path in beside]
    left += [(_Kind.UNMARKED, path) for path in unmarked]
    kinds: dict[_Kind, list[str]] = {}
    for kind, path in chain(left, _left_out(root, known)):
        kinds.setdefault(kind, []).append(visible(path.relative_to(root).as_posix()))
    said = {kind: _said(kind, sorted(kinds[kind])) for kind in _Kind if kind in kinds}
    other = said.pop(_Kind.OTHER, "")
    return Unread("; ".join(said.values()), other)


def _left_out(root: Path, known: set[Path]) -> Iterator[tuple[_Kind, Path]]:
    top = _entries(root)
    inner = [path for folder in top if folder.is_dir() for path in _entries(folder)]
    for path in (*(path for path in top if not path.is_dir()), *inner):
        if path.is_dir():
            yield _Kind.INNER, path
        elif path not in known:
            yield _kind(path.name.lower()), path


def _kind(name: str) -> _Kind:
    if name.endswith(_PACKED):
        return _Kind.PACKED
    return _Kind.TABLE if name.endswith(_TABLES) else _Kind.OTHER


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _said(kind: _Kind, names: Sequence[str]) -> str:
    one, several, mend = kind.value
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return f"{len(names)} {one if len(names) == 1 else several} ({shown})" + (f": {mend}" if mend else "")
