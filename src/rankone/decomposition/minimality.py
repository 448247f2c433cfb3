"""Importance minimality: the price of every active subcomponent, with the frequency term.

With f_c the mean penalty ψ of subcomponent c over the batch's positions, the loss is
    activity · Σ_c f_c + frequency · Σ_c f_c · log2(1 + a′ f_c).
ψ is |g|^p (VPD) or the smooth L0 g² / (g² + γ²) (Geman-McClure); `a′` is a reference count of positions, so
that the frequency term does not shift with the batch size.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from rankone.config import Config
from rankone.schedule import Schedule

EPSILON = 1e-12


class Minimality(Config):
    """Which ψ, how sharp over the run, and how dear."""

    kind: Literal["smooth_l0", "lp"] = "smooth_l0"
    sharpness: Schedule = Schedule(start=1.0, end=0.02, until=0.9)
    activity: float = Field(default=2e-4, ge=0, description="coefficient of Σ f_c")
    frequency: float = Field(default=1e-4, ge=0, description="coefficient of Σ f_c log2(1 + a′ f_c)")
    reference_count: float = Field(default=32768.0, gt=0, description="a′, in positions")

    @model_validator(mode="after")
    def _stays_smooth(self) -> Minimality:
        # g² / (g² + 0) is 0 / 0 at g = 0: the run would die the moment the schedule got there.
        sharpness = self.sharpness
        reached = [sharpness.start, *([] if sharpness.end is None else [sharpness.end])]
        if self.kind == "smooth_l0" and (min(reached) <= 0 or sharpness.warmup > 0):
            raise ValueError("the sharpness of smooth_l0 must stay above 0 (and so cannot have a warm-up)")
        return self


def smooth_l0(importance: Tensor, gamma: Tensor) -> Tensor:
    """g² / (g² + γ²)."""
    square = importance * importance
    return square / (square + gamma * gamma)


def smooth_l0_slope(importance: Tensor, gamma: Tensor) -> Tensor:
    """Derivative of `smooth_l0`: 2 g γ² / (g² + γ²)²."""
    gamma2 = gamma * gamma
    return 2 * importance * gamma2 / (importance * importance + gamma2).square()


def lp(importance: Tensor, p: Tensor) -> Tensor:
    """(g + ε)^p."""
    return (importance + EPSILON).pow(p)


def lp_slope(importance: Tensor, p: Tensor) -> Tensor:
    """Derivative of `lp`: p (g + ε)^(p − 1)."""
    return p * (importance + EPSILON).pow(p - 1)


PENALTIES = {"smooth_l0": (smooth_l0, smooth_l0_slope), "lp": (lp, lp_slope)}


def minimality_loss(mean_penalty: Float[Tensor, " c"], config: Minimality) -> Float[Tensor, ""]:
    """The loss from f_c, one entry per subcomponent of all sites."""
    rarity = torch.log1p(config.reference_count * mean_penalty) / math.log(2)
    return config.activity * mean_penalty.sum() + config.frequency * (mean_penalty * rarity).sum()
