"""What recipes say of the objective: importance minimality, and how the output is held under ablation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rankone.core.config import Config
from rankone.core.schedule import Schedule


class Minimality(Config):
    """Which ψ, how sharp over the run, and how dear."""

    kind: Literal["smooth_l0", "lp"] = "smooth_l0"
    sharpness: Schedule = Schedule(start=1.0, end=0.02, until=0.9)
    activity: float = Field(default=2e-4, ge=0, description="coefficient of Σ f_c")
    frequency: float = Field(default=1e-4, ge=0, description="coefficient of Σ f_c log2(1 + a′ f_c)")
    reference_count: float = Field(default=32768.0, gt=0, description="a′, in positions")
    normalised: bool = Field(default=False, description="divide ψ by its value at g = 1 (smooth_l0 only)")
    half_life: float | None = Field(
        default=None, gt=0, description="steps over which f_c is averaged; None is this batch alone"
    )

    @model_validator(mode="after")
    def _stays_smooth(self) -> Minimality:
        # g² / (g² + 0) is 0 / 0 at g = 0: the run would die the moment the schedule got there.
        sharpness = self.sharpness
        reached = [sharpness.start, *([] if sharpness.end is None else [sharpness.end])]
        if self.kind == "smooth_l0" and (min(reached) <= 0 or sharpness.warmup > 0):
            raise ValueError("the sharpness of smooth_l0 must stay above 0 (and so cannot have a warm-up)")
        if self.kind == "lp" and self.normalised:
            raise ValueError("`normalised` is for smooth_l0: the value of |g|^p at g = 1 is 1 already")
        return self


class Reconstruction(Config):
    """How the output is held under ablation."""

    form: Literal["merged", "separate"] = Field(
        default="merged",
        description="merged: a coin per row, one pass; separate: one stochastic and one adversarial pass",
    )
    stochastic: float = Field(
        default=0.5, ge=0, description="coefficient (separate), or share of the sum (merged)"
    )
    adversarial: float = Field(default=0.5, ge=0)
    routing: Literal["subset", "all", "mixed", "layerwise"] = Field(
        default="subset",
        description="sites masked in stochastic rows: a random subset per position, all, either by a coin per row, "
        "or one site per row",
    )
    sources: Literal["uniform", "binary", "corners"] = Field(
        default="uniform",
        description="stochastic sources: uniform in [0, 1]; 0 or 1; or 0 and 1 with a probability drawn per row",
    )
    divergence: Literal["kl", "mse"] = Field(
        default="kl", description="kl of softmaxed outputs, or mse for a target without logits"
    )
    hidden: float = Field(
        default=0.0, ge=0, description="coefficient of the MSE of site outputs in stochastic rows"
    )
