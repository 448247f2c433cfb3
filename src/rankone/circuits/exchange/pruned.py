"""The part of a graph that has a share of its influence: circuit-tracer's `prune_graph`, on sparse edges.

First the fewest nodes with a share of all influence on the outputs; tokens and outputs count into that share and stay
whatever theirs is, and what no part explains is ranked with the rest. Then, with what flows into a node taken anew over the
nodes that stay, the fewest edges with a share of what they carry. A node that then feeds nothing, or a subcomponent that
reads nothing, goes too.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.circuits.attribution.edges import Edges
from rankone.circuits.exchange.shown import ALWAYS, Shown, of_kinds
from rankone.circuits.graph import Graph, influence, output_weights, shares
from rankone.circuits.records import Rule, Thresholds
from rankone.core.errors import RankOneError


def pruned(graph: Graph, rule: Rule, thresholds: Thresholds) -> Shown:
    """What stays; RankOneError where nothing has influence, so that there are no shares of it."""
    flow, drawn = graph.influence_by(rule), graph.edges[rule]
    if not 0 < float(flow.sum()) < torch.inf:
        raise RankOneError(
            f"no node of the graph has influence on {graph.name(graph.outputs[0])} by the {rule} rule, so that "
            f"--node-threshold {thresholds.nodes:g} is a share of nothing. Give --nodes and --edges, which count."
        )
    always = of_kinds(graph, ALWAYS)
    kept = always | (flow >= _least(flow, thresholds.nodes))
    inside = (kept[drawn.source] & kept[drawn.target]).nonzero()[:, 0]
    carried = _carried(graph, _among(drawn, inside))
    edges = inside[carried >= _least(carried, thresholds.edges)]
    chosen = of_kinds(graph, ("subcomponent",))
    while True:
        feeds, reads = torch.zeros_like(kept), torch.zeros_like(kept)
        feeds[drawn.source[edges]], reads[drawn.target[edges]] = True, True
        stays = kept & (always | (feeds & (reads | ~chosen)))
        if torch.equal(stays, kept):
            return Shown.of(graph, rule, kept, edges, thresholds)
        kept = stays
        edges = edges[kept[drawn.source[edges]] & kept[drawn.target[edges]]]


def _among(edges: Edges, inside: Tensor) -> Edges:
    """Some of the edges, as if there were no others."""
    target, weight = edges.target[inside], edges.weight[inside]
    absolute = torch.zeros_like(edges.absolute).index_add_(0, target, weight.double().abs())
    return Edges(edges.source[inside], target, weight, edges.total, absolute)


def _carried(graph: Graph, edges: Edges) -> Float[Tensor, " n"]:
    """Of each edge, how much of the outputs' weight goes through it."""
    weights = output_weights(graph.nodes)
    flow = influence(edges, weights, len(graph.nodes))
    flow[list(weights)] += torch.tensor(list(weights.values()), dtype=flow.dtype)
    return shares(edges) * flow[edges.target]


def _least(sizes: Float[Tensor, " n"], share: float) -> Float[Tensor, ""]:
    """The size down to which the largest have this share of the sum."""
    ordered = sizes.sort(descending=True).values
    sums = ordered.double().cumsum(0)
    if not len(sums) or not sums[-1] > 0:
        return sizes.new_tensor(torch.inf)
    return ordered[int(torch.searchsorted(sums / sums[-1], share))]
