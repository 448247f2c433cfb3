"""The passes of a training step: what goes into one, what comes out, and the context its forward runs in."""

from __future__ import annotations

from contextlib import ExitStack
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


def precision(device: torch.device, autocast: bool, length: int) -> ExitStack:
    """The context of a forward with a graph: bf16 autocast by wish, and the attention whose backward is cheap.

    On short rows torch's flash attention for the CPU, which computes its scores again in the backward, takes half as long
    again as attention that keeps them.
    """
    context = ExitStack()
    context.enter_context(torch.autocast(device.type, torch.bfloat16, enabled=autocast))
    if device.type == "cpu" and length <= SHORT:
        context.enter_context(sdpa_kernel(SDPBackend.MATH))
    return context
