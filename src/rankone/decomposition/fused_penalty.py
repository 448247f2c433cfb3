"""The mean importance penalty f_c of every subcomponent in one pass over the logits, and its gradient in another.

f_c = mean over positions of ψ(upper(logit)), ψ of minimality.py; beside it the share of positions with a logit above 0.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from rankone.decomposition.kernels import kernel
from rankone.decomposition.minimality import PENALTIES
from rankone.decomposition.squash import upper, upper_slope, wide


def _penalty(logits: Tensor, sharpness: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    logit = wide(logits)
    psi, _ = PENALTIES[kind]
    return psi(upper(logit), sharpness).mean((0, 1)), (logit > 0).float().mean((0, 1))


def _penalty_backward(logits: Tensor, sharpness: Tensor, grad: Tensor, kind: str) -> Tensor:
    logit = wide(logits)
    _, slope = PENALTIES[kind]
    # No gradient where the squashing is flat, so ψ'(0) = ∞ of L_p (p < 1) never appears.
    own = torch.where(
        logit <= 0, torch.zeros_like(logit), slope(upper(logit), sharpness) * upper_slope(logit)
    )
    return (own * (grad / (logits.shape[0] * logits.shape[1]))).to(logits.dtype)


class _MeanPenalty(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, sharpness: Tensor, kind: str, compiled: bool
    ) -> tuple[Tensor, Tensor]:
        penalty, firing = kernel(_penalty, compiled)(logits, sharpness, kind)
        ctx.save_for_backward(logits, sharpness)
        ctx.kind, ctx.compiled = kind, compiled
        ctx.mark_non_differentiable(firing)
        return penalty, firing

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return kernel(_penalty_backward, ctx.compiled)(*ctx.saved_tensors, grad, ctx.kind), None, None, None


def mean_penalty(
    logits: Float[Tensor, "b t c"], sharpness: Float[Tensor, ""], kind: str, compiled: bool = False
) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Mean penalty f_c of the minimality `kind` and firing share of each subcomponent, in fp32."""
    return _MeanPenalty.apply(logits, sharpness, kind, compiled)  # pyright: ignore[reportReturnType]
