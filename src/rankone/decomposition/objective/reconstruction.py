"""How far a masked output is from the clean one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.metrics.kl import kl_per_position


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
