"""The part of a graph that is shown: its subcomponents of most influence with all that is not explained, and the strongest
edges among them; how much is left out is counted, never dropped in silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.circuits.graph import Graph, shares
from rankone.circuits.records import REST, Rule, Thresholds

ALWAYS = ("output", "embedding", "position")


@dataclass(frozen=True)
class Shown:
    """nodes: those shown, in the graph's order. influence: of every node, by the rule of the edges. cumulative: of every
    node but outputs the share of influence of all that are at least as strong, tokens among them: circuit-tracer's.
    source, target, weight: edges among them, by one rule, target by target; pattern: whether one acts through attention
    patterns alone. edges: how many there are in all.
    thresholds: what was asked for, where it was no count."""

    graph: Graph
    rule: Rule
    nodes: tuple[int, ...]
    influence: Float[Tensor, " nodes"]
    cumulative: dict[int, float]
    source: tuple[int, ...]
    target: tuple[int, ...]
    weight: tuple[float, ...]
    pattern: tuple[bool, ...]
    edges: int
    thresholds: Thresholds | None = None

    @classmethod
    def of(
        cls,
        graph: Graph,
        rule: Rule,
        kept: Bool[Tensor, " nodes"],
        edges: Int[Tensor, " n"],
        thresholds: Thresholds | None = None,
    ) -> Self:
        """These nodes, and these of the rule's edges, by their numbers."""
        drawn = graph.edges[rule]
        pattern = graph.pattern[edges] if rule == "grad" else torch.zeros(len(edges), dtype=torch.bool)
        return cls(
            graph,
            rule,
            tuple(kept.nonzero()[:, 0].tolist()),
            graph.influence_by(rule),
            _cumulative(graph, rule),
            tuple(drawn.source[edges].tolist()),
            tuple(drawn.target[edges].tolist()),
            tuple(drawn.weight[edges].tolist()),
            tuple(pattern.tolist()),
            len(drawn.weight),
            thresholds,
        )

    @property
    def share(self) -> float:
        """Share of the influence of all subcomponents that those shown have."""
        chosen = self.influence[self.graph.chosen]
        here = [i for i in self.nodes if self.graph.nodes[i].kind == "subcomponent"]
        return float(self.influence[here].sum() / chosen.sum().clamp_min(1e-30))

    @property
    def hidden(self) -> list[int]:
        """The nodes that are not shown."""
        return sorted({*range(len(self.graph.nodes))} - {*self.nodes})


def shown(graph: Graph, rule: Rule, count: int, edges: int) -> Shown:
    """The `count` strongest subcomponents, every output and token, rest nodes that anything shown reads, `edges` edges."""
    flow = graph.influence_by(rule)
    order = sorted(graph.chosen, key=lambda i: -float(flow[i]))[:count]
    kept = of_kinds(graph, ALWAYS)
    kept[order] = True
    drawn = graph.edges[rule]
    share = shares(drawn)
    # What is not explained stays in sight wherever what is shown reads it.
    rest = of_kinds(graph, (*REST, "bias", "operation bias"))
    read = (rest[drawn.source] & kept[drawn.target]).nonzero()[:, 0]
    kept[sorted(_strongest(share[read], drawn.source[read], count))] = True
    inside = (kept[drawn.source] & kept[drawn.target]).nonzero()[:, 0]
    best = inside[share[inside].argsort(descending=True)[:edges]].sort().values
    return Shown.of(graph, rule, kept, best)


def of_kinds(graph: Graph, kinds: tuple[str, ...]) -> Bool[Tensor, " nodes"]:
    """Which nodes are of these kinds."""
    return torch.tensor([n.kind in kinds for n in graph.nodes])


def _strongest(share: Float[Tensor, " n"], source: Tensor, count: int) -> set[int]:
    """The `count` sources whose largest share is largest."""
    largest: dict[int, float] = {}
    for node, size in zip(source.tolist(), share.tolist(), strict=True):
        largest[node] = max(largest.get(node, 0.0), size)
    return set(sorted(largest, key=lambda i: -largest[i])[:count])


def _cumulative(graph: Graph, rule: Rule) -> dict[int, float]:
    flow = graph.influence_by(rule)
    ranked = [i for i, n in enumerate(graph.nodes) if n.kind != "output"]
    ranked.sort(key=lambda i: -float(flow[i]))
    sums = flow[ranked].double().cumsum(0)
    whole = sums[-1].clamp_min(1e-30)
    return dict(zip(ranked, (sums / whole).clamp(max=1.0).tolist(), strict=True))
