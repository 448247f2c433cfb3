"""One fit: what it is given, how all fits are made, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from pydantic import Field, model_validator
from torch import Tensor

from rankone.core.config import Config
from rankone.edits.fitting.forget import Target
from rankone.edits.fitting.objective import Objective
from rankone.edits.fitting.size import Sized
from rankone.edits.lowrank import LowRankEdit
from rankone.text.blocks import Blocks


class FitConfig(Config):
    """How runs are fitted; shared by every method that is compared."""

    steps: int = Field(
        default=3000, gt=0, description="ceiling; a run stops at its own plateau, long before in most cases"
    )
    patience: int = Field(
        default=60, gt=0, description="steps without improvement of the smoothed loss before a run stops"
    )
    target: Target = "expected"
    objective: Objective = Field(default="uniform", description="forget term; all but uniform want `sampled`")
    cap: Literal["token", "mean"] = "mean"
    retain_rows: int = Field(default=1, gt=0, description="rows of retain text per run and step")
    forget_rows: int = Field(
        default=1, gt=0, description="rows of forget text per run and step, taken in turn"
    )
    autocast: bool = Field(default=False, description="forwards in bfloat16: faster on a GPU, less exact")

    @model_validator(mode="after")
    def _objective_of_tokens(self) -> FitConfig:
        if self.objective != "uniform" and (self.target, self.cap) != ("sampled", "mean"):
            raise ValueError(
                f"the objective '{self.objective}' is of the tokens that follow: set target to sampled"
            )
        return self


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

    run: Run
    edit: LowRankEdit
    parameters: dict[str, Tensor]
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
