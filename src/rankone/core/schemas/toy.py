"""Steps of `scores.json`, in artefacts of kind 'toy'.

Version 2: what is true of a site is the number of its dense dimensions, or nothing, no longer prose ("dense, 3").
"""

from __future__ import annotations

import re

from pydantic import JsonValue

from rankone.core.schemas.schema import Document, Schema


def _second(name: str, document: Document) -> Document:
    rows = document.get("rows")
    if name != "scores.json" or not isinstance(rows, list):
        return document
    changed: list[JsonValue] = []
    for row in rows:
        values = dict(row) if isinstance(row, dict) else {}
        match = re.fullmatch(r"dense, (\d+)", str(values.pop("truth", "")))
        changed.append({**values, "dense": int(match[1]) if match else None})
    return {**document, "rows": changed}


SCHEMA = Schema(2, {1: _second})

SCHEMAS = {"toy": SCHEMA}
