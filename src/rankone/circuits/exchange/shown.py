"""The part of a graph that is shown: its subcomponents of most influence with all that is not explained, and the strongest
edges among them; how much is left out is counted, never dropped in silence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.circuits.graph import Graph, shares
from rankone.circuits.records import REST, Rule

ALWAYS = ("output", "embedding", "position")


@dataclass(frozen=True)
class Shown:
    """nodes: those shown, in the graph's order. cumulative: of every node the share of influence of all that are at least
    as strong (circuit-tracer's `influence`; None for tokens and outputs). source, target, weight: edges among them, by one
    rule, target by target. edges: how many there are in all."""

    graph: Graph
    rule: Rule
    nodes: tuple[int, ...]
    cumulative: dict[int, float]
    source: tuple[int, ...]
    target: tuple[int, ...]
    weight: tuple[float, ...]
    edges: int

    @property
    def influence(self) -> float:
        """Share of the influence of all subcomponents that those shown have."""
        chosen = self.graph.influence[self.graph.chosen]
        here = [i for i in self.nodes if self.graph.nodes[i].kind == "subcomponent"]
        return float(self.graph.influence[here].sum() / chosen.sum().clamp_min(1e-30))


def shown(graph: Graph, rule: Rule, count: int, edges: int) -> Shown:
    """The `count` strongest subcomponents, every output and token, rest nodes that anything shown reads, `edges` edges."""
    order = sorted(graph.chosen, key=lambda i: -float(graph.influence[i]))[:count]
    kept = {*order, *(i for i, n in enumerate(graph.nodes) if n.kind in ALWAYS)}
    drawn = graph.edges[rule]
    share = shares(drawn)
    # What is not explained stays in sight wherever what is shown reads it.
    rest = torch.tensor([n.kind in REST or n.kind in ("bias", "operation bias") for n in graph.nodes])
    into = torch.zeros(len(graph.nodes), dtype=torch.bool)
    into[sorted(kept)] = True
    read = (rest[drawn.source] & into[drawn.target]).nonzero()[:, 0]
    strongest_rest = _strongest(share[read], drawn.source[read], count)
    kept |= strongest_rest
    into[sorted(kept)] = True
    inside = (into[drawn.source] & into[drawn.target]).nonzero()[:, 0]
    best = inside[share[inside].argsort(descending=True)[:edges]].sort().values
    return Shown(
        graph,
        rule,
        tuple(sorted(kept)),
        _cumulative(graph),
        tuple(drawn.source[best].tolist()),
        tuple(drawn.target[best].tolist()),
        tuple(drawn.weight[best].tolist()),
        len(drawn.weight),
    )


def _strongest(share: Float[Tensor, " n"], source: Tensor, count: int) -> set[int]:
    """The `count` sources whose largest share is largest."""
    largest: dict[int, float] = {}
    for node, size in zip(source.tolist(), share.tolist(), strict=True):
        largest[node] = max(largest.get(node, 0.0), size)
    return set(sorted(largest, key=lambda i: -largest[i])[:count])


def _cumulative(graph: Graph) -> dict[int, float]:
    ranked = [i for i, n in enumerate(graph.nodes) if n.kind not in ALWAYS]
    ranked.sort(key=lambda i: -float(graph.influence[i]))
    sums = graph.influence[ranked].double().cumsum(0)
    whole = sums[-1].clamp_min(1e-30)
    return dict(zip(ranked, (sums / whole).clamp(max=1.0).tolist(), strict=True))
