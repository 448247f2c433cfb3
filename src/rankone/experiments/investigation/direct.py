"""What a subcomponent writes to the logits directly: its write vector through the unembedding, where a linear path leads.

The gain of the final norm is folded in; its scale, which changes no order of tokens, is left out. What later layers make
of the vector is left out too: a direct effect is one path among many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.models.anatomy import acts_on_scores, is_value, module_of, value_heads, writes_residual
from rankone.models.sites import Site, find_sites, weight_of
from rankone.models.unembedding import unembedding_of
from rankone.text.vocabulary import spelling
from rankone.workspace import Workspace


@dataclass(frozen=True)
class Path:
    """What a write vector is in the residual stream, and the way it takes; vector None where no linear path leads there."""

    vector: Float[Tensor, " width"] | None
    way: str


@dataclass(frozen=True)
class DirectEffect:
    """Tokens that the subcomponent or component of the unedited model raises and lowers where it is active.

    Sizes in standard deviations over the vocabulary.
    """

    way: str
    raises: list[tuple[str, float]]
    lowers: list[tuple[str, float]]


def stream_path(model: PreTrainedModel, site: str, write: Float[Tensor, " d_out"]) -> Path:
    """The way from a site's output to the residual stream.

    A value vector goes through its block's output matrix; every head is taken to attend with weight one (a head that looks
    elsewhere moves the effect to other positions), and with grouped queries each value serves several heads.
    """
    width = int(model.config.get_text_config().hidden_size)
    if writes_residual(site, len(write), width):
        return Path(write, "straight into the residual stream")
    if acts_on_scores(site):
        return Path(None, "none: it acts on the attention scores alone")
    output = _output_beside(model, module_of(site), width) if is_value(site) else None
    if output is None:
        return Path(
            None, "none: what it writes passes a non-linearity, or a layer RankOne does not know, first"
        )
    heads = _repeated(write, output.d_in, model)
    if heads is None:
        return Path(None, f"none: its width does not fit that of {output.name}")
    return Path(weight_of(output).float() @ heads, f"through {output.name}, where attention looks at it")


def _output_beside(model: PreTrainedModel, parent: str, width: int) -> Site | None:
    """The one site of the same module that writes to the residual stream."""
    outputs = [
        s
        for s in find_sites(model)
        if module_of(s.name) == parent and writes_residual(s.name, s.d_out, width)
    ]
    return outputs[0] if len(outputs) == 1 else None


def _repeated(
    write: Float[Tensor, " d_out"], d_in: int, model: PreTrainedModel
) -> Float[Tensor, " d_in"] | None:
    """A value vector once for every query head that reads it."""
    if len(write) == d_in:
        return write.float()
    groups = value_heads(model.config.get_text_config())
    if not groups or len(write) % groups or d_in % len(write):
        return None
    return write.float().view(groups, -1).repeat_interleave(d_in // len(write), dim=0).flatten()


def direct_logits(model: PreTrainedModel, vector: Float[Tensor, " width"]) -> Float[Tensor, " vocab"]:
    """Rise of every token's logit over the mean logit, per unit of a vector added to the final residual stream."""
    return unembedding_of(model).rows @ vector.float()


def direct_effect(workspace: Workspace, activations: Mapping[str, float], top: int = 12) -> DirectEffect:
    """Tokens raised and lowered directly by one subcomponent, or by the members of a component together.

    activations: ‖u‖ v·x of each where it is active (of a single one only the sign counts).
    """
    model, tokenizer, parts = workspace.model, workspace.tokenizer, workspace.require_parts()
    vector, ways = None, []
    for name, activation in activations.items():
        write = parts.vectors(name)[1]
        path = stream_path(model, parts.locate(name)[0], write)
        ways.append(path.way)
        if path.vector is not None:
            added = path.vector.float() * (activation / float(write.norm().clamp_min(1e-20)))
            vector = added if vector is None else vector + added
    way = "; ".join(f"{way} ({n})" if len(ways) > 1 else way for way, n in Counter(ways).items())
    if vector is None:
        return DirectEffect(way, [], [])
    effect = direct_logits(model, vector)[: len(tokenizer)]
    effect = effect / effect.std().clamp_min(1e-20)
    best, worst = effect.topk(min(top, len(effect))), (-effect).topk(min(top, len(effect)))

    def named(chosen: torch.return_types.topk, factor: float) -> list[tuple[str, float]]:
        pairs = zip(chosen.indices.tolist(), chosen.values.tolist(), strict=True)
        return [(spelling(tokenizer, i), factor * value) for i, value in pairs if value > 0]

    return DirectEffect(way, named(best, 1.0), named(worst, -1.0))
