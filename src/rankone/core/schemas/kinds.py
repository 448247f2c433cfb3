"""Schemas by kind of artefact."""

from __future__ import annotations

from rankone.core.schemas import evidence, harvest, toy
from rankone.core.schemas.schema import Schema

# Kinds whose layout has changed since their first version; all others are at version 1.
_SCHEMAS: dict[str, Schema] = {
    "decomposition": evidence.SCHEMA,
    "evidence": evidence.SCHEMA,
    "toy": toy.SCHEMA,
    "harvest": harvest.HARVEST,
    "labels": harvest.LABELS,
}


def schema_of(kind: str) -> Schema:
    """The schema of a kind."""
    return _SCHEMAS.get(kind, Schema())
