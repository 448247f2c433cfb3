"""The recipes that ship with RankOne, one YAML each, and the field of a request that names one or a file of the user's.

A recipe's name is its path in this folder, without its ending: `german`, `toys/tms-5-2`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from rankone.core.errors import RankOneError, nearest

HERE = Path(__file__).resolve().parent


@cache
def shipped() -> dict[str, Path]:
    """The files of the recipes that ship, by name."""
    files = sorted(HERE.rglob("*.yaml"))
    return {file.relative_to(HERE).with_suffix("").as_posix(): file for file in files}


def ships(file: Path) -> bool:
    """Whether a recipe's file is one of these."""
    return file.resolve() in shipped().values()


def recipe_file(given: Path | str) -> Path:
    """The file that is meant: the one at that path, else the recipe of that name that ships.

    Raises RankOneError for what is neither, with the nearest names.
    """
    path, name = Path(given).expanduser(), Path(given).as_posix()
    missing = _is_missing(path)
    # Beside a folder of that name, in which a run is kept, the recipe is meant all the same.
    if name in shipped() and (missing or path.is_dir()):
        return shipped()[name]
    if missing:
        raise RankOneError(f"no recipe at '{given}', and none of that name ships.{_offered(path)}")
    return path


def _is_missing(path: Path) -> bool:
    """Whether nothing is at a path; what cannot be looked at is there, and its reader says why it cannot be read."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def _offered(path: Path) -> str:
    """A sentence with the name of the recipe that a path is called after, else with the nearest names, else with all."""
    names, plain = list(shipped()), path.with_suffix("")
    for start in range(len(plain.parts)):
        if (name := "/".join(plain.parts[start:])) in names:
            return f" '{name}' does: give that name."
    near = nearest(plain.name, names) or nearest(plain.as_posix(), names)
    return near or f" Those that ship: {', '.join(names)}."


Recipe = Annotated[Path, AfterValidator(recipe_file)]
"""A recipe by its path, or by the name of one that ships: a path where something lies there."""
