"""A graph as the reply that a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

import torch

from rankone.circuits.asking.replies import GraphReply, NodeRow, PatternRow, RestRow
from rankone.circuits.asking.trust import trust
from rankone.circuits.effects import direct_effects
from rankone.circuits.graph import Graph, shares
from rankone.circuits.records import Kind, Rule, Verification


def graph_reply(
    graph: Graph, verification: Verification | None, rule: Rule, top: int, out: Path | None = None
) -> GraphReply:
    """Its strongest nodes, what it holds, what was measured."""
    record = graph.record
    flow = graph.influence_by(rule)
    strongest = sorted(graph.chosen, key=lambda i: -float(flow[i]))
    return GraphReply(
        prompt=record.prompt,
        tokens=record.tokens,
        outputs=record.outputs,
        rule=rule,
        edges=record.edges_kept,
        scores=record.scores,
        kinds=tuple(kind_rows(graph, rule)),
        nodes=tuple(node_rows(graph, rule, strongest[:top])),
        behind_patterns=len(graph.behind_patterns),
        pattern_edges=int(graph.pattern.sum()),
        patterns=tuple(pattern_rows(graph, top)) if rule == "grad" else (),
        masked=record.masked,
        verification=verification,
        trust=trust(record, verification, rule),
        processor_seconds=record.processor_seconds,
        out=out,
    )


def kind_rows(graph: Graph, rule: Rule, nodes: Iterable[int] | None = None) -> Sequence[RestRow]:
    """Nodes and share of all influence by kind, of some nodes or of all."""
    flow = graph.influence_by(rule)
    whole = max(float(flow.sum()), 1e-30)
    among = torch.zeros(len(graph.nodes), dtype=torch.bool)
    among[[*(range(len(graph.nodes)) if nodes is None else nodes)]] = True
    rows = []
    for kind in get_args(Kind):
        here = torch.tensor([n.kind == kind for n in graph.nodes]) & among
        if here.any():
            share = 0.0 if kind == "output" else float(flow[here].sum()) / whole
            rows.append(RestRow(kind=kind, nodes=int(here.sum()), influence=share))
    return sorted(rows, key=lambda row: -row.influence)


def pattern_rows(graph: Graph, top: int) -> list[PatternRow]:
    """The edges through attention patterns that carry most of the outputs' weight, by `grad`."""
    edges = graph.edges["grad"]
    share = shares(edges)
    carried = (share * graph.influence_by("grad")[edges.target])[graph.pattern]
    numbers = graph.pattern.nonzero()[:, 0][carried.argsort(descending=True)[:top]]
    return [
        PatternRow(
            source=graph.name(int(edges.source[i])),
            target=graph.name(int(edges.target[i])),
            weight=float(edges.weight[i]),
            share=float(share[i]),
        )
        for i in numbers.tolist()
    ]


def node_rows(graph: Graph, rule: Rule, nodes: Sequence[int]) -> list[NodeRow]:
    """What is said of these nodes, subcomponents all."""
    output, edges = graph.outputs[0], graph.edges[rule]
    effects, linked = direct_effects(graph, rule, output), set(edges.source[edges.target == output].tolist())
    flow = graph.influence_by(rule)
    whole = max(float(flow.sum()), 1e-30)
    return [
        NodeRow(
            name=graph.name(i),
            token=graph.record.tokens[graph.nodes[i].position],
            label=graph.label(i) or None,
            importance=graph.nodes[i].importance,
            influence=float(flow[i]) / whole,
            effect=float(effects[i]) if i in linked else None,
        )
        for i in nodes
    ]
