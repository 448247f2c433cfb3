"""What feeds chosen parts over text: Σ over tokens of the edges into them, by source part, domain and rule.

A(s → t) = Σ gradient · a_s g_s over all positions of t and s, reported over Σ g_s · RMS(a_t), so that parts of all sizes and
densities compare ("Interpreting Language Model Parameters", 2026). Sums add over rows, and so over batches and runs. Text is
cut into rows of its own length; a row costs a cut by each rule and a backward row per target (per position where attention
stands between).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.circuits.attribution.cut import cut
from rankone.circuits.attribution.edges import all_edges
from rankone.circuits.attribution.nodes import Nodes, Target, by_importance, nodes_of
from rankone.circuits.choosing.masks import masked_prompt
from rankone.circuits.records import RULES, Rule
from rankone.decomposition.model import Decomposition
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks


@dataclass(frozen=True)
class Sums:
    """Of one domain. edges: by rule, [targets, parts] Σ gradient · a_s g_s; importance: [parts] Σ g_s; squares: [targets]
    Σ a_t²; tokens: positions summed over."""

    edges: dict[Rule, Float[Tensor, "targets parts"]]
    importance: Float[Tensor, " parts"]
    squares: Float[Tensor, " targets"]
    tokens: int

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            {rule: self.edges[rule] + other.edges[rule] for rule in RULES},
            self.importance + other.importance,
            self.squares + other.squares,
            self.tokens + other.tokens,
        )

    def scaled(self, rule: Rule) -> Float[Tensor, "targets parts"]:
        """A / (Σ g_s · RMS(a_t)); 0 for sources that are never important."""
        size = (self.squares / max(self.tokens, 1)).sqrt().clamp_min(1e-30)
        return self.edges[rule] / self.importance.clamp_min(1e-30) / size.unsqueeze(1) * (self.importance > 0)


def sums_over(
    model: PreTrainedModel,
    parts: Decomposition,
    targets: Sequence[str],
    text: Mapping[str, Blocks],
    bar: Meter | None = None,
) -> dict[str, Sums]:
    """Sums of every domain; targets: names of parts. RankOneError for one that is not there."""
    places = [parts.locate(name) for name in targets]
    by_domain: dict[str, Sums] = {}
    for domain, blocks in text.items():
        whole = _nothing(len(targets), parts.total)
        for row, present in zip(blocks.ids, blocks.present, strict=True):
            whole = whole + row_sums(model, parts, places, row[present])
            if bar is not None:
                bar.advance(note=domain)
        by_domain[domain] = whole
    return by_domain


def row_sums(
    model: PreTrainedModel, parts: Decomposition, places: Sequence[tuple[str, int]], ids: Int[Tensor, " t"]
) -> Sums:
    """Sums of one row of tokens; places: (site, column) of the targets."""
    with masked_prompt(model, parts, ids) as prompt:
        g = prompt.importance
    made = _nothing(len(places), parts.total)
    columns = _columns(parts)
    for rule in RULES:
        first = cut(model, ids, rule)
        nodes = nodes_of(model, parts, first, by_importance(parts, g), g)
        asked = Nodes(nodes.table, nodes.sources, _targets(parts, places, len(ids), g.device))
        edges = all_edges(first, asked, [], max(len(nodes.table), len(places)))
        chosen = [n.kind == "subcomponent" for n in nodes.table]
        column = torch.tensor(
            [columns[n.place, n.number] if c else 0 for n, c in zip(nodes.table, chosen, strict=True)]
        )
        weight = torch.tensor([n.importance if c else 0.0 for n, c in zip(nodes.table, chosen, strict=True)])
        flow = edges.weight.double() * weight[edges.source].double()
        flat = edges.target * parts.total + column[edges.source]
        made.edges[rule].view(-1).index_add_(0, flat, flow)
        if rule == "frozen":
            for k, (site, c) in enumerate(places):
                made.squares[k] = (
                    (first.read(site) @ parts.factors(site)[0].detach()[:, c]).double().square().sum().cpu()
                )
    made.importance.copy_(g.sum(0).double().cpu())
    return Sums(made.edges, made.importance, made.squares, len(ids))


def _nothing(targets: int, parts: int) -> Sums:
    def zeros(*shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.float64)

    return Sums({rule: zeros(targets, parts) for rule in RULES}, zeros(parts), zeros(targets), 0)


def _columns(parts: Decomposition) -> dict[tuple[str, int], int]:
    return {key: i for i, key in enumerate((s, int(n)) for s in parts.sites for n in parts.indices[s])}


def _targets(
    parts: Decomposition, places: Sequence[tuple[str, int]], length: int, device: torch.device
) -> dict[str, Target]:
    """The chosen parts at every position, numbered as they were named: their edges at all positions add up."""
    made = {}
    for site in dict.fromkeys(site for site, _ in places):
        numbers = [k for k, (s, _) in enumerate(places) if s == site]
        read = parts.factors(site)[0].detach()[:, [places[k][1] for k in numbers]]
        made[site] = Target(site, read, torch.tensor(numbers, device=device).expand(length, -1))
    return made
