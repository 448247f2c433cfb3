"""Which parts of a prompt become nodes, and what the model says where only they are let through."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.attribution.cut import Cut
from rankone.circuits.attribution.nodes import Selection, by_importance, everything, named, strongest
from rankone.circuits.attribution.targets import Aim
from rankone.circuits.choosing.masks import (
    MaskedPrompt,
    loss_of,
    masked_logits,
    masked_prompt,
    masked_row,
    masked_rows,
    random_nodes,
)
from rankone.circuits.choosing.optimise import optimised
from rankone.circuits.config import BY_IMPORTANCE, GraphConfig
from rankone.circuits.records import MaskedRow, OptimisedRecord
from rankone.core.errors import RankOneError
from rankone.decomposition.model import Decomposition
from rankone.parts.parts import Parts


@dataclass(frozen=True)
class Choice:
    """Nodes: where, their importance (None: parts have none), how they were fitted, what the masked model says."""

    selection: Selection
    importance: Float[Tensor, "t c"] | None
    optimised: OptimisedRecord | None
    masked: tuple[MaskedRow, ...]


def chosen(
    model: PreTrainedModel, parts: Parts, first: Cut, ids: Tensor, config: GraphConfig, aim: Aim
) -> Choice:
    """The nodes that a configuration asks for; RankOneError where parts have no importance to choose by, or none is left."""
    if config.objective == "ce" and aim.token is None:
        raise RankOneError(
            "the objective ce needs one token as its target: give --objective logit for a contrast."
        )
    if isinstance(parts, Decomposition):
        return _of_decomposition(model, parts, first, ids, config, aim)
    if config.nodes in BY_IMPORTANCE:
        raise RankOneError(
            f"{parts.origin} parts have no causal importance, which --nodes {config.nodes} chooses by. Give --nodes "
            "strongest, named or all."
        )
    return Choice(_selection(parts, first, None, config), None, None, ())


def _of_decomposition(
    model: PreTrainedModel, parts: Decomposition, first: Cut, ids: Tensor, config: GraphConfig, aim: Aim
) -> Choice:
    with masked_prompt(model, parts, ids) as prompt:
        loss = loss_of(config.objective, prompt.clean, aim)
        g, record = prompt.importance, None
        if config.nodes in ("optimised", "ci"):
            mode = "importance" if config.nodes == "ci" else "stochastic and adversarial"
            g, record = optimised(prompt, loss, config.fitting(), mode)
        selection = _selection(parts, first, g, config)
        kept = torch.cat([selection[s] for s in parts.sites], dim=1).to(g.device)
        if not kept.any():
            raise RankOneError("no part is chosen at any position: lower the threshold or the penalty.")
        weight = g * kept if config.nodes in BY_IMPORTANCE else kept.to(g)
        rows = masked_rows(prompt, weight, prompt.raw > 0, aim, loss, config.seed)
        rows += _random_rows(prompt, kept, aim, config)
    return Choice(selection, g, record, tuple(rows))


def _selection(parts: Parts, first: Cut, g: Float[Tensor, "t c"] | None, config: GraphConfig) -> Selection:
    if config.nodes == "strongest":
        return strongest(parts, first, config.per_site)
    if config.nodes == "named":
        if not config.names:
            raise RankOneError("--nodes named needs the names: give --names PART,PART,…")
        return named(parts, config.names, first.length)
    if config.nodes == "all" or g is None:
        return everything(parts, first.length)
    return by_importance(parts, g, config.threshold if config.nodes == "natural" else 0.0)


def _random_rows(
    prompt: MaskedPrompt, kept: Bool[Tensor, "t c"], aim: Aim, config: GraphConfig
) -> list[MaskedRow]:
    """Random graphs of the same counts per site, under binary masks: of the naturally alive, else of all parts."""
    if not config.random_graphs:
        return []
    alive = (prompt.raw > 0).cpu()
    pool = alive if int(kept.sum()) * 2 <= int(alive.sum()) else torch.ones_like(alive)
    generator = torch.Generator().manual_seed(config.seed)
    drawn = [
        random_nodes(kept.cpu(), pool, prompt.model.decomposition.counts, generator)
        for _ in range(config.random_graphs)
    ]
    loss = loss_of("kl", prompt.clean, aim)
    logits = [masked_logits(prompt, m.to(prompt.raw), prompt.raw > 0, loss, "binary") for m in drawn]
    return [masked_row(prompt.clean, "binary", int(kept.sum()), torch.cat(logits), aim, random=True)]
