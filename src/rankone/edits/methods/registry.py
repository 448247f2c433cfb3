"""All fitting methods, found from one place: every file of this folder, or of a folder in it, that lists KINDS.

Their names are read from the files' text, so that a recipe with a typo is refused before PyTorch is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import ModuleInfo, iter_modules
from typing import TYPE_CHECKING

import rankone.edits.methods as folder
from rankone.core.errors import RankOneError, nearest

if TYPE_CHECKING:
    from rankone.edits.methods.kind import Kind


@cache
def kinds() -> dict[str, Kind]:
    """Methods by name, in their order."""
    listed: list[Kind] = []
    for name, _ in _files():
        listed += getattr(import_module(name), "KINDS", ())
    ordered = sorted(listed, key=lambda kind: (kind.order, kind.name))
    if len({kind.name for kind in ordered}) < len(ordered):
        raise RankOneError(f"two methods have one name: {', '.join(kind.name for kind in ordered)}.")
    return {kind.name: kind for kind in ordered}


@cache
def method_names() -> tuple[str, ...]:
    """The names of all methods, file by file, without importing them: the first word of each entry of their KINDS."""
    return tuple(
        entry.args[0].value
        for _, file in _files()
        for entry in _entries(file)
        if isinstance(entry.args[0], ast.Constant) and isinstance(entry.args[0].value, str)
    )


def kind_named(name: str) -> Kind:
    """A method by name; RankOneError for an unknown one."""
    if why := unknown(name):
        raise RankOneError(f"{why}.")
    return kinds()[name]


def unknown(name: str) -> str:
    """What is wrong with a name that no method has; '' for a method's."""
    names = method_names()
    if name in names:
        return ""
    return f"unknown method '{name}'.{nearest(name, list(names))} There are {', '.join(names)}"


def _files() -> Iterator[tuple[str, Path]]:
    """Dotted name and path of every file beside this one and one folder below."""
    places = [(folder.__name__, Path(place)) for place in folder.__path__]
    rooms = [
        (f"{above}.{m.name}", place / m.name) for above, place in places for m in _listed(place) if m.ispkg
    ]
    for above, place in [*places, *rooms]:
        names = (f"{above}.{module.name}" for module in _listed(place) if not module.ispkg)
        yield from ((name, place / f"{name.rpartition('.')[2]}.py") for name in names if name != __name__)


def _listed(place: Path) -> list[ModuleInfo]:
    return list(iter_modules([str(place)]))


def _entries(file: Path) -> Iterator[ast.Call]:
    """The calls that make up a file's KINDS."""
    for statement in ast.parse(file.read_text("utf8")).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Tuple):
            (target,) = statement.targets
            if isinstance(target, ast.Name) and target.id == "KINDS":
                yield from (entry for entry in statement.value.elts if isinstance(entry, ast.Call))
