"""Nodes of a graph by the place that names them, alone and in groups whose numbers are added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from rankone.circuits.asking.replies import GroupEdge, GroupRow
from rankone.circuits.asking.summary import node_rows
from rankone.circuits.graph import Graph
from rankone.circuits.records import Rule
from rankone.core.errors import RankOneError

# Edges of a group to single nodes that are listed, beside those to groups and outputs.
EDGES = 12


def nodes_at(graph: Graph, places: Sequence[str]) -> list[int]:
    """The nodes of these places, `PART@POSITION` each; RankOneError for one that the graph does not have."""
    known = {f"{graph.part(i)}@{graph.nodes[i].position}": i for i in graph.chosen}
    missing = [place for place in places if place not in known]
    if missing:
        raise RankOneError(f"the graph has no node '{missing[0]}'. Name its nodes as PART@POSITION.")
    return [known[place] for place in dict.fromkeys(places)]


def group_rows(graph: Graph, rule: Rule, groups: Mapping[str, Sequence[str]]) -> list[GroupRow]:
    """Each group with the sums of its nodes' numbers and of its edges; RankOneError for a node in two of them.

    An edge between two nodes of other groups counts as one between those groups.
    """
    members = {name: nodes_at(graph, places) for name, places in groups.items()}
    owner: dict[int, str] = {}
    for name, nodes in members.items():
        twice = [i for i in nodes if i in owner]
        if twice:
            raise RankOneError(
                f"{graph.name(twice[0])} is in '{owner[twice[0]]}' and in '{name}'. Leave it in one."
            )
        owner |= dict.fromkeys(nodes, name)
    return [_group(graph, rule, name, nodes, owner) for name, nodes in members.items()]


def _group(graph: Graph, rule: Rule, name: str, nodes: Sequence[int], owner: Mapping[int, str]) -> GroupRow:
    edges, rows = graph.edges[rule], node_rows(graph, rule, nodes)
    inside = torch.zeros(len(graph.nodes), dtype=torch.bool)
    inside[list(nodes)] = True
    starts, ends = inside[edges.source], inside[edges.target]
    sums: dict[str, list[float | None]] = {}
    for side, here, others in ((0, ends & ~starts, edges.source), (1, starts & ~ends, edges.target)):
        for other, weight in zip(others[here].tolist(), edges.weight[here].tolist(), strict=True):
            at = sums.setdefault(owner.get(other) or graph.name(other), [None, None])
            at[side] = (at[side] or 0.0) + weight
    first = {*owner.values(), *map(graph.name, graph.outputs)}
    others = sorted(sums.keys() - first, key=lambda other: -max(abs(s or 0.0) for s in sums[other]))[:EDGES]
    shown = [*(other for other in sums if other in first), *others]
    return GroupRow(
        name=name,
        nodes=tuple(rows),
        influence=sum(row.influence for row in rows),
        effect=_added([row.effect for row in rows if row.effect is not None]),
        within=_added(edges.weight[starts & ends].double().tolist()),
        edges=tuple(GroupEdge(name=other, into=sums[other][0], out=sums[other][1]) for other in shown),
    )


def _added(edges: Sequence[float]) -> float | None:
    return sum(edges) if edges else None
