"""How fits are made: what every method that is compared shares."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rankone.core.config import Config

Target = Literal["expected", "sampled"]


Objective = Literal["uniform", "ascent", "npo", "simnpo", "learn", "rmu"]


DIRECTIONS_RATE = 0.015
"""Of Adam on directions whose entries have a root mean square of 1 (methods/directions.py)."""

LEAST_TRAINED = 500
"""Forget tokens without which directions are not trained: they have thousands of numbers, and would learn those tokens."""

START_WEIGHT = 0.1
"""Of every retained domain where directions are trained within tolerances, nats (within.py)."""


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
    autocast: bool = Field(default=False, description="forwards in bfloat16: faster, less exact")

    @model_validator(mode="after")
    def _objective_of_tokens(self) -> FitConfig:
        if self.objective != "uniform" and (self.target, self.cap) != ("sampled", "mean"):
            raise ValueError(
                f"the objective '{self.objective}' is of the tokens that follow: set target to sampled"
            )
        return self
