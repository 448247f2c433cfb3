"""What the name of a model stands for: something built in, a directory, or a name on the Hub. Nothing is loaded."""

from __future__ import annotations

import re
from pathlib import Path

from rankone.core.errors import RankOneError, nearest

ASSETS = Path(__file__).resolve().parents[2] / "assets"
BUILTIN_MODELS = ("mini", "mini-without-de")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def resolve(name: str | Path) -> Path | str:
    """The model directory that `name` stands for, or `name` itself where it can only be a Hub name.

    Built-in names (`mini`, `mini-without-de`) come first; write `./mini` for a directory of that name.
    Raises RankOneError for a path that does not exist or holds no model.
    """
    if str(name) in BUILTIN_MODELS and not isinstance(name, Path):
        return _builtin(name)
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise RankOneError(f"'{path}' has no config.json: it is no model directory. Check the path.")
        return path
    if isinstance(name, str) and not path.exists() and _can_be_hub_name(name):
        return name
    offered = nearest(str(name), list(BUILTIN_MODELS))
    raise RankOneError(f"no model directory at '{name}'. Check the path.{offered}")


def _builtin(name: str) -> Path:
    path = ASSETS / name
    if not path.is_dir():
        raise RankOneError(
            f"the built-in model '{name}' is missing from this installation (no '{path}'). "
            "Reinstall RankOne, or name a model directory."
        )
    return path


def _can_be_hub_name(name: str) -> bool:
    """`owner/model` or `model`, unless its first part is a local directory: then it is a mistyped path."""
    return _HUB_NAME.fullmatch(name) is not None and not ("/" in name and Path(name).parent.exists())
