"""Names of components, looked up in a clustering's table before anything is opened: no PyTorch is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankone.core.artifact import column_of
from rankone.core.errors import RankOneError, nearest

KIND, TABLE = "components", "components"


def require_component(folder: Path, name: str) -> None:
    """RankOneError for a component that a clustering does not have, as far as its table can be read."""
    names = column_of(folder, KIND, TABLE, "component")
    if names and name not in names:
        raise RankOneError(no_component(folder, name, names))


def no_component(folder: Path, name: str, names: Sequence[str]) -> str:
    """What to say of a name that is none of a clustering's."""
    return f"no component '{name}' in '{folder}': it has c0 to c{len(names) - 1}.{nearest(name, list(names))}"
