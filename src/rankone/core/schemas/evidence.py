"""Steps of `evidence.json`, in artefacts of kind 'evidence' and beside a decomposition.

Version 2: a row's masking is a kind with its threshold or steps beside it, no longer prose ("rounded > 0.5").
"""

from __future__ import annotations

import re
from typing import Any

from rankone.core.errors import RankOneError
from rankone.core.schemas.schema import Schema

FILE = "evidence.json"
_PLAIN = {"CI as mask": "ci"}


def kind_of(prose: str) -> dict[str, Any]:
    """`masking`, with `threshold` or `steps`, of what version 1 called it."""
    if match := re.fullmatch(r"rounded > ([\d.]+)", prose):
        return {"masking": "rounded", "threshold": float(match[1])}
    if match := re.fullmatch(r"adversarial, (\d+) PGD steps", prose):
        return {"masking": "adversarial", "steps": int(match[1])}
    return {"masking": _PLAIN.get(prose, prose)}


def _second(name: str, document: dict[str, Any]) -> dict[str, Any]:
    if name != FILE:
        return document
    try:
        changed = {**document, "rows": [{**row, **kind_of(row["masking"])} for row in document["rows"]]}
        if document.get("broad") is not None:
            changed["broad"] = _second(name, document["broad"])
    except (KeyError, TypeError, AttributeError) as error:
        raise RankOneError(
            f"the rows of {FILE} are damaged ({type(error).__name__}: {error}). Restore the artefact from its source."
        ) from error
    return changed


SCHEMA = Schema(2, {1: _second})
