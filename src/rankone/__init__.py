"""RankOne opens a language model's weight matrices into rank-one parts, shows what each does, and changes the model by
turning the few that matter.

    import rankone as ro
    s = ro.open("mini")
    s.rank(of="de", against=["en"]).head()

Everything is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rankone.core.errors import RankOneError
    from rankone.decomposition.model import Decomposition
    from rankone.edits.lowrank import LowRankEdit
    from rankone.parts.parts import Parts
    from rankone.render.tables import Table
    from rankone.session import Session, open
    from rankone.workspace import Workspace

    __version__: str

_HOMES = {
    "Decomposition": "rankone.decomposition.model",
    "LowRankEdit": "rankone.edits.lowrank",
    "Parts": "rankone.parts.parts",
    "RankOneError": "rankone.core.errors",
    "Session": "rankone.session",
    "Table": "rankone.render.tables",
    "Workspace": "rankone.workspace",
    "open": "rankone.session",
}

__all__ = ["Decomposition", "LowRankEdit", "Parts", "RankOneError", "Session", "Table", "Workspace", "open"]


def __getattr__(name: str) -> object:
    if name == "__version__":
        return import_module("importlib.metadata").version("rankone")
    if name not in _HOMES:
        raise AttributeError(f"module 'rankone' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
