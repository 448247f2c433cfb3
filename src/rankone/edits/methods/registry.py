"""All fitting methods, found from one place: every file of this folder that lists KINDS."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import rankone.edits.methods as folder
from rankone.core.errors import RankOneError, nearest
from rankone.edits.methods.kind import Kind


@cache
def kinds() -> dict[str, Kind]:
    """Methods by name, in their order."""
    listed: list[Kind] = []
    for module in iter_modules(folder.__path__):
        if module.name != __name__.rpartition(".")[2]:
            listed += getattr(import_module(f"{folder.__name__}.{module.name}"), "KINDS", ())
    ordered = sorted(listed, key=lambda kind: (kind.order, kind.name))
    if len({kind.name for kind in ordered}) < len(ordered):
        raise RankOneError(f"two methods have one name: {', '.join(kind.name for kind in ordered)}.")
    return {kind.name: kind for kind in ordered}


def kind_named(name: str) -> Kind:
    """A method by name; RankOneError for an unknown one."""
    if name not in kinds():
        raise RankOneError(
            f"unknown method '{name}'; there are {', '.join(kinds())}.{nearest(name, list(kinds()))}"
        )
    return kinds()[name]
