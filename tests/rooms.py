"""Reading the source tree room by room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "src" / "rankone"


def over(rooms: tuple[str, ...], check: Callable[[str, Path], list[str]]) -> list[str]:
    """What `check` says of all files (source, path below src/rankone) of rooms: folders, or files without their `.py`."""
    problems = []
    for room in rooms:
        files = sorted((ROOT / room).rglob("*.py")) or [ROOT / f"{room}.py"]
        problems += [p for f in files for p in check(f.read_text("utf8"), f.relative_to(ROOT))]
    return problems
