"""The passes of a training step: what goes into one, what comes out, and the attention it runs with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# Positions up to which attention on the CPU keeps its scores.
SHORT = 256


class Pass(NamedTuple):
    """What one masked forward gives: divergence [B, T], and the MSE of site outputs [B, T] if asked for."""

    divergence: Float[Tensor, "b t"]
    hidden: Float[Tensor, "b t"] | None


class Rows(NamedTuple):
    """Which rows of a pass are adversarial, and whether it has stochastic ones (`drawn`) and such (`attacked`)."""

    adversarial: Bool[Tensor, "b 1 1"]
    drawn: bool
    attacked: bool


class Clean(NamedTuple):
    """One clean forward: the output, the site outputs if the recipe holds them, importance logits."""

    output: Tensor
    hidden: list[Tensor]
    logits: Tensor


def attention(device: torch.device, length: int) -> AbstractContextManager[object]:
    """The context of a step's forwards and backwards (which may run a forward again): attention with a cheap backward.

    On short rows torch's flash attention for the CPU, which computes its scores again in the backward, takes half as long
    again as attention that keeps them.
    """
    if device.type == "cpu" and length <= SHORT:
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()
