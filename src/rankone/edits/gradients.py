"""The gradient of a loss with respect to the scale of every part, from one pass forwards and one backwards.

With W' = W + Σ_c (α_c − 1) u_c v_cᵀ and y = W' x, at α = 1:  ∂L/∂α_c = Σ_positions (v_c · x) (∂L/∂y · u_c),
so it needs the inputs of the sites and the gradients of their outputs in the base model, and no scale at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.metrics.cross_entropy import next_token_losses
from rankone.models.modules import replaced
from rankone.parts.parts import Parts
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace

ROWS_AT_ONCE = 4


class _Probed(nn.Module):
    """A layer that notes its input and adds a zero; the gradient of the zero is that of the layer's output."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.calls: list[tuple[Tensor, Tensor]] = []

    @property
    def weight(self) -> Tensor:
        """The layer's weight, for code that reads `layer.weight`."""
        return self.base.get_parameter("weight")

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
        y = self.base(x)
        zero = torch.zeros_like(y, requires_grad=True)
        self.calls.append((x.detach(), zero))
        return y + zero


@contextmanager
def _probed(model: PreTrainedModel, sites: list[str]) -> Iterator[dict[str, _Probed]]:
    placed = {site: _Probed(model.get_submodule(site)) for site in sites}
    with replaced(model, placed):
        yield placed


@dataclass(frozen=True)
class Slopes:
    """Of one cross-entropy, for every part, on the CPU. gradient: ∂CE/∂α. square: the squares of what each position
    contributes to it, summed, per scored token: the empirical Fisher information of α, as far as positions are independent.
    """

    gradient: Float[Tensor, " parts"]
    square: Float[Tensor, " parts"]


def scale_gradients(
    workspace: Workspace, blocks: Blocks, bar: Meter | None = None
) -> Float[Tensor, " parts"]:
    """∂CE/∂α at α = 1 of all parts, CE the mean next-token cross-entropy (nats) over the text tokens.

    In the order of the parts, on the CPU. The scale of several parts together has the sum of their gradients.
    Raises RankOneError where the gradient is not finite.
    """
    return scale_slopes(workspace.model, workspace.require_parts(), blocks, bar).gradient


def scale_slopes(model: PreTrainedModel, parts: Parts, blocks: Blocks, bar: Meter | None = None) -> Slopes:
    """Slopes of the mean next-token cross-entropy (nats) over the text tokens, at the weights as they stand.

    In the order of the parts. Raises RankOneError where a gradient is not finite.
    """
    if blocks.tokens == 0:
        raise RankOneError("the text for the gradient is empty.")
    total, squares = torch.zeros(parts.total), torch.zeros(parts.total)
    with _probed(model, parts.sites) as layers:
        for chunk in blocks.split(ROWS_AT_ONCE, model.device):
            summed = _summed(model, parts, layers, chunk)
            total += summed.gradient
            squares += summed.square
            if bar is not None:
                bar.advance(chunk.tokens)
    if not torch.isfinite(total).all():
        raise RankOneError("the gradient of the cross-entropy is not finite on this text.")
    return Slopes(total / blocks.tokens, squares / blocks.tokens)


def _summed(model: PreTrainedModel, parts: Parts, layers: dict[str, _Probed], blocks: Blocks) -> Slopes:
    """Slopes of the summed cross-entropy of some rows."""
    for layer in layers.values():
        layer.calls.clear()
    with torch.enable_grad():
        logits = model(input_ids=blocks.ids, use_cache=False).logits
        loss = next_token_losses(logits, blocks.ids, blocks.valid).sum()
        zeros = [zero for layer in layers.values() for _, zero in layer.calls]
        gradients = iter(torch.autograd.grad(loss, zeros, allow_unused=True))
    sums, squares = [], []
    for site in parts.sites:
        read, write = (f.detach() for f in parts.factors(site))
        total, square = read.new_zeros(read.shape[1]), read.new_zeros(read.shape[1])
        for x, _ in layers[site].calls:
            gradient = next(gradients)
            if gradient is not None:
                each = _contributions(x, gradient, read, write)
                total += each.sum(0)
                square += each.square().sum(0)
        sums.append(total)
        squares.append(square)
        layers[site].calls.clear()
    return Slopes(torch.cat(sums).cpu(), torch.cat(squares).cpu())


def _contributions(
    x: Float[Tensor, "... d_in"],
    gradient: Float[Tensor, "... d_out"],
    read: Float[Tensor, "d_in c"],
    write: Float[Tensor, "c d_out"],
) -> Float[Tensor, "positions c"]:
    return (x.flatten(0, -2).to(read.dtype) @ read) * (gradient.flatten(0, -2).to(write.dtype) @ write.T)
