"""The passes of a training step: what goes into one, what comes out, and the attention it runs with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from rankone.decomposition.adversary.attack import Attack

# Positions up to which attention on the CPU keeps its scores.
SHORT = 256
# Positions of a masked pass on the CPU.
AT_ONCE = 1024


class Pass(NamedTuple):
    """What one masked forward gives: divergence [B, T], and the MSE of site outputs [B, T] if asked for."""

    divergence: Float[Tensor, "b t"]
    hidden: Float[Tensor, "b t"] | None


class Rows(NamedTuple):
    """Which rows of a pass are adversarial, with what sources (None: none is), and whether it has stochastic ones."""

    adversarial: Bool[Tensor, "b 1 1"]
    drawn: bool
    attack: Attack | None


class Clean(NamedTuple):
    """One clean forward: the output (hidden states, if the head is held back), the site outputs if the recipe holds them,
    importance logits, and the site inputs if the recipe prices what leaks.

    Masked passes add the gradient of the logits to `to_logits` [B, T, C], where that is wanted.
    """

    output: Tensor
    hidden: list[Tensor]
    logits: Tensor
    to_logits: Tensor | None = None
    inputs: list[Tensor] | None = None

    def of(self, rows: slice) -> Clean:
        """That of some rows."""
        to_logits = None if self.to_logits is None else self.to_logits[rows]
        return Clean(self.output[rows], [h[rows] for h in self.hidden], self.logits[rows], to_logits)


def rows_at_once(device: torch.device, rows: int, length: int) -> int:
    """Rows that go through a masked pass together: on the CPU as many as make AT_ONCE positions and divide all.

    A CPU gains nothing by more: the activations of fewer rows stay in its caches, and half of the rows take half of the
    memory. A GPU is only busy with all.
    """
    if device.type != "cpu":
        return rows
    return max((n for n in range(1, rows + 1) if rows % n == 0 and n * length <= AT_ONCE), default=1)


def attention(device: torch.device, length: int) -> AbstractContextManager[object]:
    """The context of a step's forwards and backwards (which may run a forward again): attention with a cheap backward.

    On short rows torch's flash attention for the CPU, which computes its scores again in the backward, takes half as long
    again as attention that keeps them.
    """
    if device.type == "cpu" and length <= SHORT:
        return sdpa_kernel(SDPBackend.MATH)
    return nullcontext()
