"""The read leak: what subcomponents write where they are not important.

A mask of 0 hides v_c · x in training; an edit, which scales u_c v_cᵀ at every position, does not. Of one site the leak is

    Σ_c ‖u_c‖² · mean over positions of ((1 − g_c) v_c · x)²  /  mean over positions of ‖W x‖²

on the clean inputs x, with importances g that it does not teach (else everything that leaks would become important). It
is a share of the site's squared output, summed without the signs in which inactive writings cancel. The loss is its mean
over sites. Source: ours; nothing in VPD holds v_c · x down where g_c is 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from rankone.decomposition.masking.kernels import kernel
from rankone.decomposition.masking.squash import wide
from rankone.decomposition.model import Decomposition
from rankone.decomposition.parallel.gathered import gathered
from rankone.runtime.distributed import Ranks


def _silent(activation: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """(1 − g)² v · x, and the sum over positions of ((1 − g) v · x)²; the gradient of the second is twice the first."""
    off = 1 - wide(logits).clamp(0, 1)
    value = wide(activation)
    silent = off * off * value
    return silent.to(activation.dtype), (silent * value).sum(0)


class _SilentWriting(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, read: Tensor, write: Tensor, logits: Tensor, dtype: torch.dtype, compiled: bool
    ) -> Tensor:
        x, norms = x.to(dtype), write.square().sum(1)
        silent, energy = kernel(_silent, compiled)(x @ read.to(dtype), logits)
        ctx.save_for_backward(x, silent, energy, norms, write)
        return (energy * norms).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, silent, energy, norms, write = ctx.saved_tensors
        to_read = (x.T @ silent).to(write.dtype) * (2 * grad * norms)
        to_write = write * (2 * grad * energy).unsqueeze(1)
        return None, to_read, to_write, None, None, None


def silent_writing(
    x: Float[Tensor, "positions d_in"],
    read: Float[Tensor, "d_in c"],
    write: Float[Tensor, "c d_out"],
    logits: Float[Tensor, "positions c"],
    dtype: torch.dtype = torch.float32,
    compiled: bool = False,
) -> Float[Tensor, ""]:
    """Σ over subcomponents and positions of ‖(1 − g_c) (v_c · x) u_c‖²; gradients go to V and U, products in `dtype`."""
    return _SilentWriting.apply(  # pyright: ignore[reportReturnType]
        x.detach(), read, write, logits.detach(), dtype, compiled
    )


def squared_output(x: Float[Tensor, "... d_in"], weight: Float[Tensor, "d_out d_in"]) -> Float[Tensor, ""]:
    """Σ over positions of ‖W x‖²."""
    return (x.to(weight.dtype) @ weight.T).float().square().sum()


class ReadLeak:
    """The loss of a run, with the ‖W x‖² of its first batch as every site's measure: no batch weighs by what it reads."""

    def __init__(self, decomposition: Decomposition, coefficient: float, compiled: bool = False) -> None:
        self.decomposition, self.coefficient, self.compiled = decomposition, coefficient, compiled
        self._scales: Float[Tensor, " sites"] | None = None

    @property
    def measured(self) -> bool:
        """Whether `measure` was called."""
        return self._scales is not None

    def measure(
        self, inputs: Iterable[Sequence[Tensor]], weights: Sequence[Tensor], positions: int, ranks: Ranks
    ) -> None:
        """Take the mean ‖W x‖² over the `positions` of a batch: `inputs` [B, T, d_in] of every site, a part at a time."""
        parts = [
            torch.stack([squared_output(x, w) for x, w in zip(part, weights, strict=True)]) for part in inputs
        ]
        mean = ranks.sum_(torch.stack(parts).sum(0)) / positions
        self._scales = mean.clamp_min(torch.finfo(mean.dtype).tiny)

    def backward(
        self,
        inputs: Sequence[Float[Tensor, "b t d_in"]],
        logits: Float[Tensor, "b t c"],
        positions: int,
        dtype: torch.dtype = torch.float32,
    ) -> Float[Tensor, ""]:
        """The loss of some of a batch's rows as their share of that of its `positions`; its gradients go to V and U.

        A site at a time, so that the activations of one site are in memory.
        """
        assert self._scales is not None, (
            "the loss is measured in what the sites put out: call `measure` first"
        )
        decomposition, total = self.decomposition, torch.zeros((), device=logits.device)
        by_site = zip(
            decomposition.sites, inputs, logits.split(decomposition.counts, -1), self._scales, strict=True
        )
        for site, x, site_logits, scale in by_site:
            read, write = (gathered(p) for p in decomposition.factors(site))
            written = silent_writing(
                x.flatten(0, 1), read, write, site_logits.flatten(0, 1), dtype, self.compiled
            )
            loss = written / (scale * positions * len(decomposition.sites))
            (self.coefficient * loss).backward()
            total += loss.detach()
        return total
