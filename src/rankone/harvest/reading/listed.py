"""Names of what a harvest counts, looked up in its table before anything is opened: no PyTorch is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankone.core.artifact import column_of
from rankone.core.errors import RankOneError, nearest
from rankone.harvest.reading.names import COMPONENT


def require_counted(folder: Path, name: str) -> None:
    """RankOneError for a name that a harvest does not count, as far as its table can be read.

    What may be a member of a component is left to what opens the harvest, which knows whose.
    """
    names = column_of(folder, "harvest", "parts", "name")
    components = _are_components(names)
    if names and name not in names and not (components and ":" in name):
        raise RankOneError(not_counted(folder, name, names, components))


def counts_components(folder: Path) -> bool:
    """Whether a harvest counts components, as far as its table can be read."""
    return _are_components(column_of(folder, "harvest", "parts", "name"))


def _are_components(names: Sequence[str]) -> bool:
    return bool(names) and ":" not in names[0]


def not_counted(folder: Path, name: str, names: Sequence[str], components: bool) -> str:
    """What to say of a name that a harvest does not count; components: whether it counts these."""
    if not components and COMPONENT.fullmatch(name):
        mend = ": it counts subcomponents. Count components with `rankone harvest --clusters DIR`."
    else:
        mend = f".{nearest(name, list(names))}"
    return f"'{name}' is not in the harvest '{folder}'{mend}"
