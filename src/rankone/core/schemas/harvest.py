"""Steps of a harvest and of its labels.

Version 2: what is counted and labelled is a *part*, in a harvest with `--clusters` a component; version 1 called it a
component in both.
"""

from __future__ import annotations

from rankone.core.schemas.schema import Document, Renamed, Schema

_PARTS = Renamed(files={"components.parquet": "parts.parquet"}, columns={"component": "part"})


def _second(name: str, document: Document) -> Document:
    """The count of parts in `config.json`, under its new name."""
    del name
    return {("parts" if key == "components" else key): value for key, value in document.items()}


HARVEST = Schema(2, {1: _second}, {1: _PARTS})
LABELS = Schema(2, {1: lambda _, document: document}, {1: Renamed(columns=_PARTS.columns)})

SCHEMAS = {"harvest": HARVEST, "labels": LABELS}
