"""Fields of requests: a list of names as given in Python or on the command line, and marks of what a value stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator


def _listed(given: object) -> object:
    """The parts of `a,b`, without repeats; a list of names as it is."""
    words = given.split(",") if isinstance(given, str) else given
    if not isinstance(words, list | tuple):
        return given
    return tuple(dict.fromkeys(w.strip() if isinstance(w, str) else w for w in words))


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""Names in Python as a list or one string, on the command line with commas between them."""


@dataclass(frozen=True)
class Positional:
    """Marks a field of a request that is given by its place on the command line, not by an option."""


@dataclass(frozen=True)
class Reads:
    """Marks a field of a request that names an artefact of this kind."""

    kind: str


@dataclass(frozen=True)
class Domains:
    """Marks a field of a request that names one domain or several of the opened text."""


@dataclass(frozen=True)
class Recipe:
    """Marks a field of a request that names a recipe: a file that can be read."""
