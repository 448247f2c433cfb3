"""Where parts come from, by name: what a name's prefix may say. Importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rankone.core.artifact import read_json
from rankone.core.errors import nearest

FROM_WEIGHTS = ("neuron", "channel", "singular", "random")
"""Sources of parts that follow from a model's weights: any part of them can be named at once."""
FROM_TEXT = ("contrast", "discriminant", "means")
"""Sources of parts that are made from text too, and saved."""


def origin_in(name: str) -> str:
    """The origin that a part's name states; '' for a subcomponent of a decomposition."""
    before, slash, _ = name.partition("/")
    return before if slash else ""


def saved_origins(path: Path) -> list[str]:
    """Origins of the sets in an artefact of parts, read from its configuration alone."""
    return [str(one["origin"]) for one in read_json(path / "config.json")["sets"]]


def not_open(name: str, held: Sequence[str], free: Sequence[str] = FROM_WEIGHTS) -> str:
    """What to say of a part whose origin is not open. held: origins of open sets; free: those that any name may have."""
    origin = origin_in(name)
    if not origin:
        mend = f", or name a part of another origin, as {free[0]}/{name}" if free else ""
        return f"'{name}' is a part of a decomposition, and none is open: give --decomposition DIR{mend}."
    there = ", ".join([*(one or "a decomposition's" for one in held), *free]) or "none"
    hint = nearest(origin, [*held, *FROM_WEIGHTS, *FROM_TEXT])
    said = f"no parts of origin '{origin}' are open for '{name}'. There are {there}"
    return f"{said}: open the artefact that holds them.{hint}"
