"""Kullback-Leibler divergence between two predictions of the next token: the one definition; nats."""

# Tensor.split has no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# Positions × vocabulary at once, where no gradient is wanted: a dozen copies of 2^22 float64 numbers are 400 MB.
NUMBERS_AT_ONCE = 1 << 22


def kl_per_position(
    p: Float[Tensor, "*positions vocab"], q: Float[Tensor, "*positions vocab"]
) -> Float[Tensor, "*positions"]:
    """KL(softmax p ‖ softmax q) from logits at every position, in fp32, or in float64 where both are. Differentiable."""
    log_p, log_q = (F.log_softmax(side, dim=-1, dtype=_precision(p, q)) for side in (p, q))
    return kl_of_logs(log_p, log_q)


def kl_of_logs(
    log_p: Float[Tensor, "*positions vocab"], log_q: Float[Tensor, "*positions vocab"]
) -> Float[Tensor, "*positions"]:
    """KL(p ‖ q) from log-probabilities at every position. Differentiable."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def kl_in_chunks(
    p: Float[Tensor, "*positions vocab"], q: Float[Tensor, "*positions vocab"]
) -> Float[Tensor, " n"]:
    """The same in float64, flattened, a few positions at a time: for whole texts. No gradient."""
    size = max(1, NUMBERS_AT_ONCE // p.shape[-1])
    sides = zip(p.flatten(0, -2).split(size), q.flatten(0, -2).split(size), strict=True)
    with torch.no_grad():
        return torch.cat([kl_per_position(a.double(), b.double()) for a, b in sides])


def _precision(p: Tensor, q: Tensor) -> torch.dtype:
    return torch.float64 if p.dtype == q.dtype == torch.float64 else torch.float32
