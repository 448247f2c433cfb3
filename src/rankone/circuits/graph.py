"""A graph: its nodes and edges by both rules, and what is said of it in `graph.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankone.circuits.attribution.edges import Edges
from rankone.circuits.attribution.nodes import Node
from rankone.circuits.attribution.targets import Aim
from rankone.circuits.records import REST, RULES, GraphRecord, Rule, Scores
from rankone.core.escaping import SHOWN, clipped


@dataclass(frozen=True)
class Graph:
    """Nodes in the order of the forward, outputs last; edges by rule.

    influence: [nodes] on the outputs, by the frozen rule. pattern: of edges by `grad`, whether they act through attention
    scores alone (there is no such edge by the frozen rule).
    """

    record: GraphRecord
    nodes: tuple[Node, ...]
    edges: dict[Rule, Edges]
    influence: Float[Tensor, " nodes"]
    pattern: Bool[Tensor, " n"]

    @property
    def length(self) -> int:
        """Number of positions."""
        return len(self.record.ids)

    @property
    def chosen(self) -> list[int]:
        """The nodes that are subcomponents."""
        return [i for i, node in enumerate(self.nodes) if node.kind == "subcomponent"]

    @property
    def outputs(self) -> list[int]:
        """The output nodes."""
        return [i for i, node in enumerate(self.nodes) if node.kind == "output"]

    @property
    def aims(self) -> list[Aim]:
        """The outputs as functions of the logits."""
        return [Aim(tuple(zip(o.tokens, o.factors, strict=True)), o.text) for o in self.record.outputs]

    def influence_by(self, rule: Rule) -> Float[Tensor, " nodes"]:
        """Influence on the outputs through all paths: of what flows in (frozen), or of local effects (grad)."""
        return self.influence if rule == "frozen" else self._local_influence

    @cached_property
    def _local_influence(self) -> Float[Tensor, " nodes"]:
        return influence(self.edges["grad"], output_weights(self.nodes), len(self.nodes))

    @cached_property
    def behind_patterns(self) -> list[int]:
        """The subcomponents whose matrix acts through attention patterns alone: queries and keys that are matrices of their
        own. The frozen rule holds patterns, so that these have no influence by it."""
        held, local = (self.edges[rule] for rule in RULES)
        through = {self.nodes[i].place for i in local.source[self.pattern].unique().tolist()}
        through -= {self.nodes[i].place for i in held.source.unique().tolist()}
        return [i for i in self.chosen if self.nodes[i].place in through]

    def name(self, node: int) -> str:
        """`h.3.mlp.down_proj:270 at 4`, or what else a node is."""
        here = self.nodes[node]
        if here.kind == "output":
            return self.record.outputs[node - self.outputs[0]].text
        if here.kind == "subcomponent":
            return f"{self.part(node)} at {here.position}"
        what = "" if here.kind in ("embedding", "position") else f"{here.kind} of "
        said = f"{what}{here.place} at {here.position}"
        return (
            f'"{self.record.tokens[here.position]}" at {here.position}' if here.kind == "embedding" else said
        )

    def label(self, node: int) -> str:
        """Label of a node's part, inert and at most SHOWN characters of it; empty where there is none."""
        if self.nodes[node].kind != "subcomponent":
            return ""
        return clipped(self.record.labels.get(self.part(node), ""), SHOWN)

    def part(self, node: int) -> str:
        """Name of a node's part."""
        here = self.nodes[node]
        prefix = f"{self.record.origin}/" if self.record.origin else ""
        return f"{prefix}{here.place}:{here.number}"


def shares(edges: Edges) -> Float[Tensor, " n"]:
    """|weight| as a share of all that flows into its target."""
    return (edges.weight.double().abs() / edges.absolute[edges.target].clamp_min(1e-300)).float()


def influence(edges: Edges, weights: dict[int, float], count: int) -> Float[Tensor, " nodes"]:
    """w (A + A² + …), A the shares: each node's influence on the outputs through all paths. weights: of outputs, sum 1.

    Nodes are in the order of the forward, so that one pass from the last target to the first adds up all paths.
    """
    share = shares(edges).double()
    flow = torch.zeros(count, dtype=torch.float64)
    for node, weight in weights.items():
        flow[node] += weight
    bounds = torch.searchsorted(edges.target, torch.arange(count + 1))
    for node in edges.target.unique().flip(0).tolist():
        part = slice(int(bounds[node]), int(bounds[node + 1]))
        flow.index_add_(0, edges.source[part], flow[node] * share[part])
    for node, weight in weights.items():
        flow[node] -= weight
    return flow.float()


def output_weights(nodes: Sequence[Node]) -> dict[int, float]:
    """Output node → its probability among the outputs; a contrast has all the weight."""
    weights = {
        i: 1.0 if n.probability is None else n.probability for i, n in enumerate(nodes) if n.kind == "output"
    }
    whole = sum(weights.values())
    return {i: w / whole for i, w in weights.items()}


def scores(nodes: Sequence[Node], edges: Edges) -> Scores:
    """Replacement and completeness of a graph (circuit-tracer's definitions, with our rest nodes)."""
    weights = output_weights(nodes)
    flow = influence(edges, weights, len(nodes)).double()
    is_rest = torch.tensor([n.kind in REST for n in nodes])
    is_token = torch.tensor([n.kind in ("embedding", "position") for n in nodes])
    tokens, rest = float(flow[is_token].sum()), float(flow[is_rest].sum())
    share = shares(edges).double()
    into_rest = torch.zeros(len(nodes), dtype=torch.float64).index_add_(
        0, edges.target, share * is_rest[edges.source].double()
    )
    reads = torch.zeros(len(nodes), dtype=torch.float64)
    for node, weight in weights.items():
        reads[node] = weight
    is_chosen = torch.tensor([n.kind == "subcomponent" for n in nodes])
    reads += flow * is_chosen
    explained = float((reads * (1 - into_rest)).sum() / reads.sum().clamp_min(1e-300))
    return Scores(replacement=tokens / max(tokens + rest, 1e-300), completeness=explained)


def relabelled(graph: Graph, labels: dict[str, str]) -> Graph:
    """The graph with labels of its parts."""
    wanted = {graph.part(i) for i in graph.chosen}
    kept = {name: text for name, text in labels.items() if name in wanted}
    return replace(graph, record=graph.record.model_copy(update={"labels": kept}))
