"""How far a masked output is from the clean one."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def kl_per_position(
    clean: Float[Tensor, "b t vocab"], masked: Float[Tensor, "b t vocab"]
) -> Float[Tensor, "b t"]:
    """KL(softmax clean ‖ softmax masked) in nats at every position."""
    log_p = F.log_softmax(clean.float(), dim=-1)
    log_q = F.log_softmax(masked.float(), dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


@functools.cache
def kl_kernel(compiled: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """`kl_per_position`, compiled or not."""
    return torch.compile(kl_per_position, dynamic=False) if compiled else kl_per_position
