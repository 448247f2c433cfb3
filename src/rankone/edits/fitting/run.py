"""One fit: what it is given, how all fits are made, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

from torch import Tensor

from rankone.edits.fitting.size import Sized
from rankone.edits.lowrank import LowRankEdit
from rankone.text.blocks import Blocks


@dataclass(frozen=True)
class Run:
    """One fit: its forget text, seed, weight λ of the retain term, learning rate, and the cap in units of ln V."""

    forget: Blocks
    seed: int
    retain_weight: float
    learning_rate: float
    margin: float = 1.0


@dataclass(frozen=True)
class Fit:
    """The outcome of one run. sized: why it has the size it has (size.py); None where it was left as it was fitted.
    diverged: its loss became NaN or infinite, and it stands where it was before.
    """

    run: Run = field(repr=False)
    edit: LowRankEdit
    parameters: dict[str, Tensor] = field(repr=False)
    steps: int
    loss: float
    sized: Sized | None = None
    diverged: bool = False


class Described(TypedDict):
    """A fit's plain values in a results table; budget: forget tokens."""

    budget: int
    seed: int
    retain_weight: float
    learning_rate: float
    margin: float
    steps: int


def describe(fit: Fit) -> Described:
    """Plain values of a fit for a results table."""
    run = fit.run
    return {
        "budget": run.forget.tokens,
        "seed": run.seed,
        "retain_weight": run.retain_weight,
        "learning_rate": run.learning_rate,
        "margin": run.margin,
        "steps": fit.steps,
    }
