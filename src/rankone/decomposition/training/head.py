"""A language model's head (its unembedding), held back: divergences of outputs from hidden states, some positions at a time.

Logits are as wide as the vocabulary, and a step that keeps them (clean and masked, their log-probabilities and their
gradient) may hold more of them than of all else. So the model gives its last hidden states, and logits are formed for some
positions, clean and masked. What these positions' divergence says of their hidden states is formed at once, and no logit
outlives it. The products are those of a step with whole logits; clean ones are formed again in every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from rankone.decomposition.check import equal_outputs
from rankone.models.anatomy import bends_logits
from rankone.models.modules import StandIn, replaced
from rankone.models.output import output_of
from rankone.runtime.progress import log

Divergence = Callable[[Float[Tensor, "b t out"], Float[Tensor, "b t out"]], Float[Tensor, "b t"]]

# Logits of a piece, where it has more than LEAST positions: what stays in a CPU's caches, and what keeps a GPU busy.
CPU_LOGITS, GPU_LOGITS = 2**20, 2**25
LEAST = 256
# Positions it is tried on.
FEW = 8


def logits_at_once(device: torch.device, vocabulary: int) -> int:
    """Positions whose logits are formed together."""
    return max(LEAST, (CPU_LOGITS if device.type == "cpu" else GPU_LOGITS) // vocabulary)


def head_of(target: nn.Module, sites: Sequence[str]) -> str | None:
    """The path of the linear layer that gives the model's logits; None where it is a site or something comes after it."""
    head = target.get_output_embeddings() if isinstance(target, PreTrainedModel) else None
    if not isinstance(target, PreTrainedModel) or type(head) is not nn.Linear:
        return None
    if bends_logits(target.config.get_text_config()):
        return None
    return next((name for name, m in target.named_modules() if m is head and name not in sites), None)


class _Held(StandIn):
    """Stands for the unembedding and hands on its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Head:
    """The linear layer of a model whose forward gives its input."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer

    def logits(self, hidden: Float[Tensor, "*positions d"]) -> Float[Tensor, "*positions out"]:
        """What the layer makes of the model's last hidden states."""
        return self._layer(hidden)

    def divergence(
        self,
        divergence: Divergence,
        clean: Float[Tensor, "b t d"],
        masked: Float[Tensor, "b t d"],
    ) -> Float[Tensor, "b t"]:
        """`divergence` of the logits at every position; gradients go to `masked`."""
        weight, bias, kind = self._layer.weight, self._layer.bias, masked.device.type
        if torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            weight, bias = weight.to(dtype), None if bias is None else bias.to(dtype)
        size = logits_at_once(masked.device, len(weight))
        return _InPieces.apply(masked, clean, weight, bias, divergence, size)  # pyright: ignore[reportReturnType]


class _InPieces(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        masked: Tensor,
        clean: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        divergence: Divergence,
        size: int,
    ) -> Tensor:
        """The divergence at every position, and at once what the backward needs of it: its gradient of `masked`."""
        wanted = ctx.needs_input_grad[0]
        values, gradients = [], []
        for ours, theirs in zip(
            masked.flatten(0, 1).split(size), clean.flatten(0, 1).split(size), strict=True
        ):
            hidden = ours.detach().requires_grad_(wanted)
            with torch.set_grad_enabled(wanted):
                logits = F.linear(theirs, weight, bias), F.linear(hidden, weight, bias)
                losses = divergence(logits[0].unsqueeze(0), logits[1].unsqueeze(0)).squeeze(0)
                if wanted:
                    gradients += torch.autograd.grad(losses.sum(), hidden)
            values.append(losses.detach())
        if wanted:
            ctx.save_for_backward(torch.cat(gradients).view_as(masked))
        return torch.cat(values).view(masked.shape[:-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradients,) = ctx.saved_tensors
        return (gradients * grad.unsqueeze(-1)).to(gradients.dtype), None, None, None, None, None


@contextmanager
def held_back(target: nn.Module, sites: Sequence[str], batch: Callable[[], Tensor]) -> Iterator[Head | None]:
    """Take the unembedding out of `target` while the block runs; None, and nothing changed, where that cannot be.

    It is tried on a few tokens of the batch [B, T]: hidden states and unembedding must give the model's own logits.
    """
    name = head_of(target, sites)
    if name is not None and not _is_last(target, name, batch()[:1, :FEW]):
        log.warning(
            "the model does more to its logits than unembed: they are held whole, which takes memory."
        )
        name = None
    if name is None:
        yield None
        return
    with _without(target, name) as layer:
        yield Head(layer)


@contextmanager
def _without(target: nn.Module, name: str) -> Iterator[nn.Linear]:
    """The target gives what its layer `name` is given, while the block runs."""
    layer = target.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    with replaced(target, {name: _Held(layer)}):
        yield layer


@torch.no_grad()
def _is_last(target: nn.Module, name: str, few: Tensor) -> bool:
    """Whether the layer makes the model's logits of what the model gives without it."""
    logits = output_of(target, few)
    with _without(target, name) as layer:
        output = layer(output_of(target, few))
    return output.shape == logits.shape and equal_outputs(output.float(), logits.float())
