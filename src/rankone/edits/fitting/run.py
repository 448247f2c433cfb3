"""One fit: what it is given, how all fits are made, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TypedDict

from torch import Tensor

from rankone.edits.adapters import Method
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
    method: Method = field(repr=False)
    parameters: dict[str, Tensor] = field(repr=False)
    steps: int
    loss: float
    sized: Sized | None = None
    diverged: bool = False

    @cached_property
    def edit(self) -> LowRankEdit:
        """What was fitted; RankOneError of a method that changes no weights."""
        return self.method.edit({name: value.unsqueeze(0) for name, value in self.parameters.items()}, 0)


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
