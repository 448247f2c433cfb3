"""Stray reading: how much of what a subcomponent reads lies in rows in which it is important nowhere.

A row is one passage. Where a subcomponent is important at no position of it, v · x is out of place: an edit of the part
changes text that the part has no business with. With energies as means over positions,

    stray_c = mean ((1 − max over the row of g_c) v_c · x)²        all_c = mean (v_c · x)²
    L = mean over sites of  Σ_c w_c log(stray_c / all_c + ε) / Σ_c w_c        w_c = f_c / (f_c + RARE), f_c = mean g_c

L is twice the logarithm of a root mean square out of place over that everywhere, so every halving counts alike, however
small it already is; the length of v does not matter. One batch is a noisy account of a rare part: energies and f_c are
running means, and the gradient is that of the loss at the running means in the direction of the batch. Importances learn
nothing from it. Source: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
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

# Share of stray energy below which a part is clean enough (ε).
CLEAN = 1e-4
# Mean importance at which a part counts half.
RARE = 3e-3
HALF_LIFE = 50.0


def _energies(activation: Tensor, out_of_place: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over positions of ((1 − max g) v · x)² and (v · x)²."""
    square = wide(activation).square().sum(1)
    return (out_of_place.square() * square).sum(0), square.sum(0)


def _weighted(activation: Tensor, out_of_place: Tensor, stray: Tensor, all_: Tensor) -> Tensor:
    weight = 2 * (out_of_place.square() * stray + all_)
    return (wide(activation) * weight.unsqueeze(1)).to(activation.dtype)


class _Energies(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, read: Tensor, out_of_place: Tensor, dtype: torch.dtype, compiled: bool
    ) -> tuple[Tensor, Tensor]:
        x = x.to(dtype)
        activation = x @ read.to(dtype)
        ctx.save_for_backward(x, activation, out_of_place)
        ctx.compiled, ctx.dtype = compiled, read.dtype
        return kernel(_energies, compiled)(activation, out_of_place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_stray: Tensor, to_all: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, activation, out_of_place = ctx.saved_tensors
        to_activation = kernel(_weighted, ctx.compiled)(activation, out_of_place, to_stray, to_all)
        to_read = (x.flatten(0, 1).T @ to_activation.flatten(0, 1)).to(ctx.dtype)
        return None, to_read, None, None, None


def energies(
    x: Float[Tensor, "b t d_in"],
    read: Float[Tensor, "d_in c"],
    out_of_place: Float[Tensor, "b c"],
    dtype: torch.dtype = torch.float32,
    compiled: bool = False,
) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """(stray, all): sums over positions; `out_of_place` is 1 − max g of every row. Gradients go to V."""
    return _Energies.apply(x.detach(), read, out_of_place.detach(), dtype, compiled)  # pyright: ignore[reportReturnType]


class StrayReading:
    """The loss of a run, with its running means: [3, ΣC] of stray energy, energy and importance."""

    def __init__(self, decomposition: Decomposition, coefficient: float, compiled: bool = False) -> None:
        self.decomposition, self.coefficient, self.compiled = decomposition, coefficient, compiled
        device = next(decomposition.parameters()).device
        self.decay = 0.5 ** (1 / HALF_LIFE)
        self.mean: Float[Tensor, "3 c"] = torch.zeros(3, decomposition.total, device=device)
        self.weight = torch.zeros((), device=device)

    def backward(
        self,
        inputs: Sequence[Float[Tensor, "b t d_in"]],
        logits: Float[Tensor, "b t c"],
        ranks: Ranks,
        dtype: torch.dtype = torch.float32,
    ) -> Float[Tensor, ""]:
        """The loss at the running means, this batch counted in; its gradient goes to V."""
        decomposition, (rows, length, _) = self.decomposition, logits.shape
        total = torch.zeros((), device=logits.device)
        self.weight.mul_(self.decay).add_(1 - self.decay)
        positions = rows * length * ranks.size
        by_site = zip(
            decomposition.sites,
            inputs,
            logits.split(decomposition.counts, -1),
            self.mean.split(decomposition.counts, -1),
            strict=True,
        )
        for site, x, site_logits, mean in by_site:
            g = site_logits.detach().float().clamp(0, 1)
            stray, all_ = energies(
                x, gathered(decomposition.factors(site)[0]), 1 - g.amax(1), dtype, self.compiled
            )
            batch = torch.stack((stray.detach(), all_.detach(), g.sum((0, 1)))) / positions
            mean.mul_(self.decay).add_(ranks.sum_(batch), alpha=1 - self.decay)
            loss, to_stray, to_all = stray_loss(*(mean / self.weight))
            scale = self.coefficient / (positions * len(decomposition.sites))
            (scale * (to_stray * stray + to_all * all_).sum()).backward()
            total += loss / len(decomposition.sites)
        return total

    def tensors(self) -> dict[str, Tensor]:
        """Its whole state."""
        return {"mean": self.mean, "weight": self.weight}


def stray_loss(
    stray: Float[Tensor, " c"], all_: Float[Tensor, " c"], importance: Float[Tensor, " c"]
) -> tuple[Float[Tensor, ""], Float[Tensor, " c"], Float[Tensor, " c"]]:
    """(the loss of a site, its derivatives by stray and by all energy)."""
    weight = importance / (importance + RARE)
    weight = weight / weight.sum().clamp_min(torch.finfo(weight.dtype).tiny)
    all_ = all_.clamp_min(torch.finfo(all_.dtype).tiny)
    floored = stray + CLEAN * all_
    loss = (weight * (floored / all_).log()).sum()
    return loss, weight / floored, weight * (CLEAN / floored - 1 / all_)
