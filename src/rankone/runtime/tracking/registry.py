"""Trackers by name: every file of this folder that has a SINK."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import rankone.runtime.tracking as folder
from rankone.core.errors import RankOneError, nearest
from rankone.core.optional import optional
from rankone.runtime.tracking.tracker import Sink


@cache
def sinks() -> dict[str, Sink]:
    """Trackers by name; none of their packages is imported."""
    listed: dict[str, Sink] = {}
    for module in iter_modules(folder.__path__):
        if module.name != __name__.rpartition(".")[2]:
            sink = getattr(import_module(f"{folder.__name__}.{module.name}"), "SINK", None)
            if sink is not None:
                listed[sink.name] = sink
    return listed


def require_trackers(names: Sequence[str]) -> None:
    """RankOneError for a name that is not a tracker's, and for one whose package cannot be imported."""
    known = sinks()
    for name in names:
        if name not in known:
            there = ", ".join(sorted(known))
            raise RankOneError(
                f"no tracker is called '{name}'; there are {there}.{nearest(name, list(known))}"
            )
        optional(known[name].package, known[name].extra, f"tracking in {name}")
