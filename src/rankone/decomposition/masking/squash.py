"""The two leaky-hard squashings of an importance logit.

`lower` goes into masks: clamp to [0, 1]; below 0 its gradient leaks (slope ℓ) only where the loss wants the
logit to rise. `upper` goes into the importance penalty and nothing else: it keeps growing (slope ℓ) above 1.
Source: VPD; see the two definitions in docs/method.md.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LEAK = 0.01


def wide(value: Tensor) -> Tensor:
    """In the precision that element-wise arithmetic is done in: fp32, or fp64 for fp64."""
    return value if value.dtype == torch.float64 else value.float()


def lower_gradient(logit: Tensor, upstream: Tensor) -> Tensor:
    """Gradient of `lower` at `logit` for an upstream gradient: leaks below 0 only where upstream < 0."""
    below = torch.where(upstream < 0, LEAK * upstream, torch.zeros_like(upstream))
    return torch.where(logit <= 0, below, torch.where(logit <= 1, upstream, torch.zeros_like(upstream)))


class _Lower(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logit: Tensor) -> Tensor:
        ctx.save_for_backward(logit)
        return logit.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (logit,) = ctx.saved_tensors
        return lower_gradient(logit, grad)


def lower(logit: Tensor) -> Tensor:
    """clamp(x, 0, 1) with the one-sided leak in its gradient."""
    return _Lower.apply(logit)  # pyright: ignore[reportReturnType]


def upper(logit: Tensor) -> Tensor:
    """0 below 0, x up to 1, 1 + ℓ (x − 1) above; ordinary gradient."""
    # relu, not clamp: its gradient at exactly 0 is 0, as the definition (and `upper_slope`) has it.
    return torch.where(logit > 1, 1 + LEAK * (logit - 1), logit.relu())


def upper_slope(logit: Tensor) -> Tensor:
    """Derivative of `upper`."""
    zero, one = torch.zeros_like(logit), torch.ones_like(logit)
    return torch.where(logit <= 0, zero, torch.where(logit <= 1, one, LEAK * one))
