"""A label: what one part does in a few words, how sure that is, and who says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

STATISTICAL = "statistical"


@runtime_checkable
class Labelled(Protocol):
    """Whatever has a label for parts: `Labels` from disk, or `StatisticalLabels`."""

    def best(self, part: str) -> Label:
        """The label to go by; RankOneError for an unknown name."""
        ...


@dataclass(frozen=True)
class Label:
    """One reading of one part.

    confidence in [0, 1]: for a statistical label a lower bound computed from counts (statistical.py), for a model's label
    that model's own word. source: `statistical` or the model's name. scores: name → value (scores.py, judging.py).
    """

    part: str
    label: str
    confidence: float
    source: str
    reasoning: str
    scores: dict[str, float] = field(default_factory=dict)
