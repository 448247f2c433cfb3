"""How a place on disk holds text: a folder per domain, one folder of files, or one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rankone.core.errors import RankOneError
from rankone.text.sources.unread import unread

SUFFIXES = (".txt", ".txt.zst", ".jsonl", ".jsonl.zst")
SPLIT_MARKS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


class Layout(NamedTuple):
    """Files by domain; what a person should know of how the place was read, or ''.

    note: that is as it should be; lost: text that lies there, or may, and is not read, with the mend.
    """

    files: dict[str, list[Path]]
    note: str
    lost: str = ""


def text_layout(root: Path) -> Layout:
    """Find the text files at `root`.

    Folders with text are domains. Where there are none, the text files of `root` itself are one domain called after the
    folder; a single file is one called after the file. Hidden folders and files are left out; what else is not read is
    told. RankOneError where there is no text.
    """
    if root.is_file():
        name = root.name.split(".")[0]
        return Layout({name: [root]}, f"one file: its text is one domain, '{name}'")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {folder.name: texts for folder in folders if (texts := _text_files(folder))}
    loose = _text_files(root)
    if files:
        return _layout_of(root, files, "", loose)
    if loose:
        name = root.resolve().name
        return _layout_of(
            root, {name: loose}, f"no folder per domain: the text of '{root}' is one domain, '{name}'"
        )
    left = "; ".join(filter(None, unread(root, {})))
    raise RankOneError(
        f"'{root}' holds no text: expected <domain>/<file>, or files, with a name ending in {', '.join(SUFFIXES)}."
        + (f" It holds {left}." if left else "")
    )


def split_of(path: Path) -> str | None:
    """The split that a file's name says it belongs to."""
    marks = [SPLIT_MARKS[part] for part in path.name.split(".")[1:] if part in SPLIT_MARKS]
    return marks[0] if marks else None


def _layout_of(root: Path, files: dict[str, list[Path]], how: str, beside: Sequence[Path] = ()) -> Layout:
    unmarked = [p for paths in files.values() if any(map(split_of, paths)) for p in paths if not split_of(p)]
    lost, other = unread(root, files, beside, unmarked)
    note = "; ".join(filter(None, (how, f"not read: {other}" if other else "")))
    return Layout(files, note, f"not read: {lost}" if lost else "")


def _text_files(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.iterdir()
        if p.name.endswith(SUFFIXES) and not p.name.startswith(".") and not p.is_dir()
    )


def undecodable_line(path: Path) -> str:
    """`line N: ` of the first line of a plain file that is not UTF-8; '' where every line is, and for compressed files."""
    if path.suffix == ".zst":
        return ""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf8")
            except UnicodeDecodeError:
                return f"line {number}: "
    return ""
