"""The maskings of the evidence by kind, and what tables call them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any


class Masking(StrEnum):
    """How subcomponents are masked in a row of the evidence.

    Beside `masking`, a row of ROUNDED has `threshold` (masks are 1 above it) and one of ADVERSARIAL `steps` (of projected
    gradient ascent).
    """

    TARGET = "target"
    UNMASKED = "unmasked"
    STOCHASTIC = "stochastic"
    CI = "ci"
    RANDOM = "random"
    ROUNDED = "rounded"
    ZERO = "zero"
    ADVERSARIAL = "adversarial"


def named(row: Mapping[str, Any]) -> str:
    """What a table calls the masking of a row."""
    kind = row.get("masking", "–")
    if kind == Masking.CI:
        return "CI as mask"
    if kind == Masking.ROUNDED and "threshold" in row:
        return f"rounded > {row['threshold']:g}"
    if kind == Masking.ADVERSARIAL and "steps" in row:
        return f"adversarial, {row['steps']} PGD steps"
    return str(kind)


def kl_of(rows: Iterable[Mapping[str, Any]], masking: Masking, **chosen: float) -> float:
    """KL of a masking with delta off; `threshold` or `steps` where it has some. KeyError where there is no such row."""
    for row in rows:
        if row["masking"] == masking and row["delta"] is False and chosen.items() <= row.items():
            return row["kl"]
    raise KeyError(f"{masking} {chosen}")
