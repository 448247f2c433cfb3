"""Reading the source tree room by room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "src" / "rankone"


def over(check: Callable[[str, Path], list[str]], rooms: tuple[str, ...] = ("",)) -> list[str]:
    """What `check` says of the files (source, path below src/rankone) of some rooms, or of all but a checkpoint's."""
    paths = sorted({f.relative_to(ROOT) for room in rooms for f in (ROOT / room).rglob("*.py")})
    assert len(paths) > 5, f"found only {len(paths)} files"
    return [
        p for path in paths if path.parts[0] != "assets" for p in check((ROOT / path).read_text("utf8"), path)
    ]
