"""Importance minimality: the price of every active subcomponent, with the frequency term.

With f_c the mean penalty ψ of subcomponent c over the batch's positions, the loss is
    activity · Σ_c f_c + frequency · Σ_c f_c · log2(1 + a′ f_c).
ψ is |g|^p (VPD) or the smooth L0 g² / (g² + γ²) (Geman-McClure), by wish divided by ψ(1); `a′` is a reference count of
positions, so that the frequency term does not shift with the batch size. One batch is a noisy estimate of how often a
rare subcomponent fires: with a half-life the loss is Φ(f̂) and its gradient Φ′(f̂) ∂f, f̂ the running mean of f.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.decomposition.objective.config import Minimality

EPSILON = 1e-12


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
