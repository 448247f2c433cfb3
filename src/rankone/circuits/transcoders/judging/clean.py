"""What the units of all rivals read where nothing is replaced, from one forward: latents, neurons and parts are on by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.circuits.transcoders.places import Mlp, watched
from rankone.decomposition.model import DecomposedModel
from rankone.models.output import output_of


@dataclass(frozen=True)
class Clean:
    """inputs, neurons: of each MLP what it reads, and what its last matrix does; importances: of each of its sites that is
    decomposed, the causal importances of its parts."""

    inputs: list[Float[Tensor, "n_tokens d"]]
    neurons: list[Float[Tensor, "n_tokens n"]]
    importances: list[Float[Tensor, "n_tokens c"]]


Active = Callable[[Clean], list[Bool[Tensor, "n_tokens n"]]]
"""Which units are on at which tokens, a table for each dictionary or matrix."""


@torch.no_grad()
def clean_forward(
    model: PreTrainedModel,
    mlps: Sequence[Mlp],
    decomposed: DecomposedModel | None,
    ids: Int[Tensor, "rows length"],
) -> Clean:
    """A forward with nothing replaced; decomposed: None for no parts."""
    neurons: dict[str, Tensor] = {}

    def note(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        neurons[names[module]] = args[0].flatten(0, -2)

    names = {model.get_submodule(mlp.last): mlp.last for mlp in mlps}
    with ExitStack() as hooks, watched(model, mlps) as (inputs, _):
        for module in names:
            hooks.enter_context(module.register_forward_pre_hook(note))
        output_of(model, ids)
        read = [inputs[mlp.path].flatten(0, -2).float() for mlp in mlps]
    return Clean(read, [neurons[mlp.last] for mlp in mlps], _importances(mlps, decomposed, ids))


def _importances(
    mlps: Sequence[Mlp], decomposed: DecomposedModel | None, ids: Int[Tensor, "rows length"]
) -> list[Float[Tensor, "n_tokens c"]]:
    if decomposed is None:
        return []
    parts, inside = decomposed.decomposition, {site for mlp in mlps for site in mlp.sites}
    split = decomposed.importance(ids).flatten(0, -2).split(parts.counts, dim=-1)
    return [g for site, g in zip(parts.sites, split, strict=True) if site in inside]
