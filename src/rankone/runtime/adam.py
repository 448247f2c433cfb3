"""One step of Adam for whatever stands stacked: fits side by side, sources of an adversary."""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-8


def adam_move(
    first: Tensor,
    second: Tensor,
    gradient: Tensor,
    count: int | Tensor,
    rate: Tensor,
    betas: tuple[float, float],
    keep: float | Tensor = 1.0,
) -> Tensor:
    """The bias-corrected step along a gradient; both moments are moved in place.

    count: steps taken with this one, at least 1. rate: per run. keep: 0 for runs whose moments stay as they are. All of
    them broadcast to the gradient. Source: Kingma and Ba 2015, algorithm 1.
    """
    first.lerp_(gradient, (1 - betas[0]) * keep)
    second.lerp_(gradient.square(), (1 - betas[1]) * keep)
    spread = (second / (1 - betas[1] ** count)).sqrt() + EPSILON
    return rate * first / (1 - betas[0] ** count) / spread
