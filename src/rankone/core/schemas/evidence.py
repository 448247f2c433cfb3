"""Steps of `evidence.json`, in artefacts of kind 'evidence' and beside a decomposition.

Version 2: a row's masking is a kind with its threshold or steps beside it, no longer prose ("rounded > 0.5").
Version 3: the document says its version; scores of groups are rows of one shape, quantiles rows; checks of the verdict
are named by a kind; what is the same for every adversary is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rankone.core.errors import RankOneError
from rankone.core.schemas.schema import Document, Schema

FILE = "evidence.json"
_PLAIN = {"CI as mask": "ci"}
# A document of any shape: what it lacks is refused by name.
_Loose = dict[str, Any]


def kind_of(prose: str) -> Document:
    """`masking`, with `threshold` or `steps`, of what version 1 called it."""
    if match := re.fullmatch(r"rounded > ([\d.]+)", prose):
        return {"masking": "rounded", "threshold": float(match[1])}
    if match := re.fullmatch(r"adversarial, (\d+) PGD steps", prose):
        return {"masking": "adversarial", "steps": int(match[1])}
    return {"masking": _PLAIN.get(prose, prose)}


def _second(document: _Loose) -> _Loose:
    changed = {**document, "rows": [{**row, **kind_of(row["masking"])} for row in document["rows"]]}
    if document.get("broad") is not None:
        changed["broad"] = _second(document["broad"])
    return changed


def _third(document: _Loose) -> _Loose:
    changed = {**document, "schema_version": 3}
    for name, step in _SECTIONS.items():
        if document.get(name) is not None:
            changed[name] = step(document[name])
    return changed


def _quantiles(spectrum: _Loose) -> _Loose:
    rows = [{"share": float(q), "mean_importance": m} for q, m in spectrum["quantiles"].items()]
    return {**spectrum, "quantiles": rows}


def _groups(alone: _Loose) -> list[_Loose]:
    return [
        {"by": by, "group": row[by], "ce": row["ce"], "kl": row["kl"]}
        for by in ("layer", "kind", "site")
        for row in alone[f"per_{by}"]
    ]


def _checks(verdict: _Loose) -> _Loose:
    return {
        part: [{**row, "name": re.sub(r"[ -]", "_", row["name"].lower())} for row in rows]
        for part, rows in verdict.items()
    }


def _without(key: str, values: _Loose) -> _Loose:
    return {name: value for name, value in values.items() if name != key}


_SECTIONS: dict[str, Callable[[_Loose], Any]] = {
    "adversary": lambda values: _without("sources", values),
    "adversary_by_group": lambda values: _without("others", values),
    "broad": lambda values: {**values, "adversary": _without("sources", values["adversary"])},
    "masked_alone": _groups,
    "spectrum": _quantiles,
    "verdict": _checks,
}


def _step(name: str, document: Document, change: Callable[[_Loose], _Loose]) -> Document:
    if name != FILE:
        return document
    try:
        return change(document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RankOneError(
            f"the rows of {FILE} are damaged ({type(error).__name__}: {error}). Restore the artefact from its source."
        ) from error


SCHEMA = Schema(3, {1: lambda n, d: _step(n, d, _second), 2: lambda n, d: _step(n, d, _third)})

SCHEMAS = {"decomposition": SCHEMA, "evidence": SCHEMA}
