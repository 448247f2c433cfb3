"""What a graph says that its nodes add to an output, by one edge and through all paths."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.circuits.graph import Graph
from rankone.circuits.records import Rule


def total_effects(graph: Graph, rule: Rule, output: int) -> Float[Tensor, " nodes"]:
    """What each node adds to an output through all paths of the graph: an intermediate passes on its incoming edge as a
    share of its own value. Rest nodes are held."""
    edges = graph.edges[rule]
    total = torch.zeros(len(graph.nodes), dtype=torch.float64)
    value = torch.tensor([n.value for n in graph.nodes], dtype=torch.float64)
    bounds = torch.searchsorted(edges.target, torch.arange(len(graph.nodes) + 1))
    total[output] = value[output]
    for node in edges.target.unique().flip(0).tolist():
        if total[node] == 0 or abs(float(value[node])) < 1e-12:
            continue
        part = slice(int(bounds[node]), int(bounds[node + 1]))
        total.index_add_(0, edges.source[part], edges.weight[part].double() * (total[node] / value[node]))
    return total


def direct_effects(graph: Graph, rule: Rule, output: int) -> Float[Tensor, " nodes"]:
    """Edges into an output, by source."""
    edges = graph.edges[rule]
    here = edges.target == output
    effect = torch.zeros(len(graph.nodes), dtype=torch.float64)
    effect[edges.source[here]] = edges.weight[here].double()
    return effect
