"""Marks on the fields of a request: what a value stands for, beyond its type."""

from __future__ import annotations

from dataclasses import dataclass


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
