"""How a place on disk holds text: a folder per domain, one folder of files, or one file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from rankone.core.errors import RankOneError

SUFFIXES = (".txt", ".txt.zst", ".jsonl", ".jsonl.zst")


class Layout(NamedTuple):
    """Files by domain; note: what a person should know of how the place was read, or ''."""

    files: dict[str, list[Path]]
    note: str


def text_layout(root: Path) -> Layout:
    """Find the text files at `root`.

    Folders with text are domains. Where there are none, the text files of `root` itself are one domain called after the
    folder; a single file is one called after the file. Hidden folders and files are left out. RankOneError where there is
    no text.
    """
    if root.is_file():
        name = root.name.split(".")[0]
        return Layout({name: [root]}, f"one file: its text is one domain, '{name}'")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = {folder.name: texts for folder in folders if (texts := _text_files(folder))}
    loose = _text_files(root)
    if files:
        names = f"{loose[0].name}, {len(loose)} in all" if loose else ""
        return Layout(files, f"text beside the domains' folders is not read ({names})" if loose else "")
    if loose:
        name = root.resolve().name
        return Layout({name: loose}, f"no folder per domain: the text of '{root}' is one domain, '{name}'")
    raise RankOneError(
        f"'{root}' holds no text: expected <domain>/<file>, or files, with a name ending in {', '.join(SUFFIXES)}."
    )


def _text_files(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.iterdir()
        if p.name.endswith(SUFFIXES) and not p.name.startswith(".") and not p.is_dir()
    )


def undecodable_line(path: Path) -> str:
    """`line N: ` of the first line of a plain file that is no UTF-8; '' where every line is, and for compressed files."""
    if path.suffix == ".zst":
        return ""
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf8")
            except UnicodeDecodeError:
                return f"line {number}: "
    return ""
