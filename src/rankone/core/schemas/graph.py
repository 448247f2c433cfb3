"""Steps of `graph.json`, in artefacts of kind 'graph'.

Version 2: it says which decomposition has its parts, and which model it is of as a whole; of version 1 that is not known.
"""

from __future__ import annotations

from rankone.core.schemas.schema import Document, Schema


def _second(name: str, document: Document) -> Document:
    return {**document, "decomposition": None, "target": None} if name == "graph.json" else document


SCHEMAS = {"graph": Schema(2, {1: _second})}
