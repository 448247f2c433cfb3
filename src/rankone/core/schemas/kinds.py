"""Schemas by kind of artefact, found from one place: every file of this folder that lists SCHEMAS.

Listed are kinds whose layout has changed since their first version; all others are at version 1.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

import rankone.core.schemas as folder
from rankone.core.schemas.schema import Schema


@cache
def schemas() -> dict[str, Schema]:
    """Schemas by kind."""
    listed: dict[str, Schema] = {}
    for module in iter_modules(folder.__path__):
        if module.name != __name__.rpartition(".")[2]:
            listed |= getattr(import_module(f"{folder.__name__}.{module.name}"), "SCHEMAS", {})
    return listed


def schema_of(kind: str) -> Schema:
    """The schema of a kind."""
    return schemas().get(kind, Schema())
