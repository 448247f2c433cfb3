"""Importance minimality: the price of every active subcomponent, with the frequency term.

With f_c the mean penalty ψ of subcomponent c over the batch's positions, the loss is
    activity · Σ_c f_c + frequency · Σ_c f_c · log2(1 + a′ f_c).
ψ is |g|^p (VPD) or the smooth L0 g² / (g² + γ²) (Geman-McClure), by wish divided by ψ(1); `a′` is a reference count of
positions, so that the frequency term does not shift with the batch size. One batch is a noisy estimate of how often a
rare subcomponent fires: with a half-life the loss is Φ(f̂) and its gradient Φ′(f̂) ∂f, f̂ the running mean of f.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor

from rankone.core.config import Config
from rankone.core.schedule import Schedule

EPSILON = 1e-12


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
    return _power(importance + EPSILON, p)


def lp_slope(importance: Tensor, p: Tensor) -> Tensor:
    """Derivative of `lp`: p (g + ε)^(p − 1)."""
    return p * _power(importance + EPSILON, p - 1)


def _power(base: Tensor, exponent: Tensor) -> Tensor:
    """base ** exponent for base > 0; in a compiled kernel twice as fast as `pow`, which also handles what is not here."""
    return (exponent * base.log()).exp()


PENALTIES = {"smooth_l0": (smooth_l0, smooth_l0_slope), "lp": (lp, lp_slope)}


def at_one(config: Minimality, sharpness: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """What mean penalties are divided by: ψ(1) where the recipe asks for it, else 1."""
    one = torch.ones_like(sharpness)
    return smooth_l0(one, sharpness) if config.normalised else one


class RunningMean:
    """Debiased exponential running mean f̂ of f_c; without a half-life, f_c itself."""

    def __init__(self, half_life: float | None, count: int, device: torch.device) -> None:
        self.decay = None if half_life is None else 0.5 ** (1 / half_life)
        self.total = torch.zeros(count, device=device)
        self.weight = torch.zeros((), device=device)

    def __call__(self, values: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
        """f̂ with `values` counted in; its gradient goes to `values` undiminished."""
        if self.decay is None:
            return values
        fixed = values.detach()
        self.total.mul_(self.decay).add_((1 - self.decay) * fixed)
        self.weight.mul_(self.decay).add_(1 - self.decay)
        return self.total / self.weight + (values - fixed)

    def tensors(self) -> dict[str, Tensor]:
        """Its whole state."""
        return {} if self.decay is None else {"total": self.total, "weight": self.weight}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put a saved state back."""
        for name, value in tensors.items():
            getattr(self, name).copy_(value)


def minimality_loss(mean_penalty: Float[Tensor, " c"], config: Minimality) -> Float[Tensor, ""]:
    """The loss from f_c, one entry per subcomponent of all sites."""
    rarity = torch.log1p(config.reference_count * mean_penalty) / math.log(2)
    return config.activity * mean_penalty.sum() + config.frequency * (mean_penalty * rarity).sum()
