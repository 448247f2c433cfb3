"""The KL of every position whose backward needs the logits alone: log-probabilities in fp32 are kept nowhere.

With p and q the softmaxes of clean and masked logits, ∂KL(p ‖ q) / ∂(masked logit) = q − p. What autograd keeps for it is
twice [B, T, vocabulary] in fp32; here it is the logits, which are there anyhow, and two numbers per position.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from rankone.decomposition.kernels import kernel
from rankone.decomposition.squash import wide


def _kl(clean: Tensor, masked: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """KL and the logarithms of the two sums of exponentials."""
    p, q = wide(clean), wide(masked)
    log_p, log_q = F.log_softmax(p, dim=-1), F.log_softmax(q, dim=-1)
    divergence = (log_p.exp() * (log_p - log_q)).sum(-1)
    return divergence, (p - log_p)[..., :1], (q - log_q)[..., :1]


def _kl_backward(
    grad: Tensor, clean: Tensor, masked: Tensor, clean_sum: Tensor, masked_sum: Tensor
) -> Tensor:
    p, q = (wide(clean) - clean_sum).exp(), (wide(masked) - masked_sum).exp()
    return ((q - p) * grad.unsqueeze(-1)).to(masked.dtype)


class _FusedKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, clean: Tensor, masked: Tensor, compiled: bool) -> Tensor:
        divergence, *sums = kernel(_kl, compiled)(clean, masked)
        ctx.save_for_backward(clean, masked, *sums)
        ctx.compiled = compiled
        return divergence

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None, kernel(_kl_backward, ctx.compiled)(grad.contiguous(), *ctx.saved_tensors), None


def fused_kl(
    clean: Float[Tensor, "b t vocab"], masked: Float[Tensor, "b t vocab"], compiled: bool = False
) -> Float[Tensor, "b t"]:
    """KL(softmax clean ‖ softmax masked) in nats at every position; a gradient goes to `masked` alone."""
    return _FusedKL.apply(clean, masked, compiled)  # pyright: ignore[reportReturnType]
