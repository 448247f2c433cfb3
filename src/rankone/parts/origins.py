"""Where parts come from, by name: what a name's prefix may say. Importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from rankone.core.artifact import read_json
from rankone.core.config import Config
from rankone.core.errors import nearest

FROM_WEIGHTS = ("neuron", "channel", "singular", "random")
"""Sources of parts that follow from a model's weights: any part of them can be named at once."""
COUNTED = ("singular", "random")
"""Of these, sources that make as many parts of a site as are asked for."""
FROM_TEXT = ("contrast", "discriminant", "means")
"""Sources of parts that are made from text too, and saved."""
SHARPENED = "sharpened"
"""What the names of parts with refitted read directions begin with; what they were, and the target, come after."""


class SavedSet(Config):
    """One set of parts of an artefact: its origin, its sites, how it was made."""

    origin: str
    sites: list[str]
    made: dict[str, JsonValue]


class SavedTarget(Config):
    """Whose parts they are: a model's name, and hashes of its weights by site."""

    name: str
    weights: dict[str, str]


class SavedParts(Config):
    """`config.json` of an artefact of parts."""

    sets: list[SavedSet]
    target: SavedTarget


def origin_in(name: str) -> str:
    """The origin that a part's name states; '' for a subcomponent of a decomposition."""
    before, slash, _ = name.partition("/")
    return before if slash else ""


def is_pattern(name: str) -> bool:
    """Whether a name stands for all parts that it fits, as `neuron/h.3.mlp.down_proj:*`."""
    return "*" in name


def saved_origins(path: Path) -> list[str]:
    """Origins of the sets in an artefact of parts, read from its configuration alone."""
    said = path / "config.json"
    return [one.origin for one in SavedParts.checked(read_json(said), str(said)).sets]


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
