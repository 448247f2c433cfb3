"""How far a masked output is from the clean one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def mse_per_position(
    clean: Float[Tensor, "b t out"], masked: Float[Tensor, "b t out"]
) -> Float[Tensor, "b t"]:
    """Mean squared difference of the outputs at every position."""
    return (clean.float() - masked.float()).square().mean(-1)


DIVERGENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"kl": kl_per_position, "mse": mse_per_position}


def hidden_mse(
    clean: Sequence[Float[Tensor, "b t _"]], masked: Sequence[Float[Tensor, "b t _"]]
) -> Float[Tensor, "b t"]:
    """Squared difference of the site outputs at every position: mean over all outputs of all sites."""
    squares = [(c.float() - m.float()).square().sum(-1) for c, m in zip(clean, masked, strict=True)]
    return torch.stack(squares).sum(0) / sum(c.shape[-1] for c in clean)
