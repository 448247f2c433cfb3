"""Nodes and edges of a graph as Parquet, and back."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from rankone.circuits.attribution.edges import Edges
from rankone.circuits.attribution.nodes import Node
from rankone.circuits.graph import Graph
from rankone.circuits.records import RULES, GraphRecord, Kind, Rule
from rankone.core.artifact import Artifact

_NODES = ("node", "kind", "place", "position", "number", "value", "importance", "probability", "influence")
_SUMS = tuple(f"{what}_{rule}" for rule in RULES for what in ("total", "absolute"))


def write_tables(graph: Graph, folder: Path) -> None:
    """`nodes.parquet` and `edges.parquet`."""
    pq.write_table(_node_table(graph), folder / "nodes.parquet", compression="zstd")
    pq.write_table(_edge_table(graph), folder / "edges.parquet", compression="zstd")


def _node_table(graph: Graph) -> pa.Table:
    rows = graph.nodes
    columns = {
        "node": pa.array(range(len(rows)), pa.int32()),
        "kind": pa.array([n.kind for n in rows]).dictionary_encode(),
        "place": pa.array([n.place for n in rows]).dictionary_encode(),
        "position": pa.array([n.position for n in rows], pa.int32()),
        "number": pa.array([n.number for n in rows], pa.int32()),
        "value": pa.array([n.value for n in rows], pa.float64()),
        "importance": pa.array([n.importance for n in rows], pa.float32()),
        "probability": pa.array([n.probability for n in rows], pa.float64()),
        "influence": pa.array(graph.influence.tolist(), pa.float32()),
    }
    for name in _SUMS:
        what, _, rule = name.partition("_")
        columns[name] = pa.array(getattr(graph.edges[cast("Rule", rule)], what).tolist(), pa.float64())
    return pa.table(columns)


def _edge_table(graph: Graph) -> pa.Table:
    parts = []
    for rule in RULES:
        edges = graph.edges[rule]
        pattern = graph.pattern if rule == "grad" else torch.zeros(len(edges.weight), dtype=torch.bool)
        parts.append(
            pa.table(
                {
                    "rule": pa.array([rule] * len(edges.weight)).dictionary_encode(),
                    "source": edges.source.int().numpy(),
                    "target": edges.target.int().numpy(),
                    "weight": edges.weight.float().numpy(),
                    "pattern": pattern.numpy(),
                }
            )
        )
    return pa.concat_tables(parts, promote_options="default").unify_dictionaries()


def read_nodes(artifact: Artifact, record: GraphRecord) -> tuple[tuple[Node, ...], torch.Tensor]:
    """The nodes and the influence of each, [nodes]; ValueError where the record says otherwise."""
    table = artifact.table("nodes").read()
    _require(table.column_names == [*_NODES, *_SUMS], "the columns of nodes.parquet")
    rows = table.to_pylist()
    _require([r["node"] for r in rows] == list(range(len(rows))), "the numbers of nodes.parquet")
    kinds = get_args(Kind)
    for row in rows:
        _require(row["kind"] in kinds and 0 <= row["position"] < len(record.ids), f"node {row['node']}")
    outputs = [r for r in rows if r["kind"] == "output"]
    _require(len(outputs) == len(record.outputs) > 0 and rows[-1]["kind"] == "output", "the output nodes")
    _require(len(record.tokens) == len(record.ids), "the tokens of graph.json")
    flow = torch.tensor([r["influence"] for r in rows])
    values = torch.tensor([r["value"] for r in rows])
    _require(bool(flow.isfinite().all() and values.isfinite().all()), "a value of nodes.parquet")
    fields = _NODES[1:-1]
    return tuple(Node(**{name: r[name] for name in fields}) for r in rows), flow


def read_edges(artifact: Artifact, nodes: tuple[Node, ...]) -> tuple[dict[Rule, Edges], torch.Tensor]:
    """The edges by rule, and which of those by `grad` go through an attention pattern; ValueError where they do not fit."""
    table, sums = artifact.table("edges").read(), artifact.table("nodes").read()
    source, target = (torch.from_numpy(table[k].to_numpy().astype("int64")) for k in ("source", "target"))
    weight = torch.from_numpy(table["weight"].to_numpy().astype("float32"))
    pattern = torch.from_numpy(table["pattern"].to_numpy(zero_copy_only=False).astype("bool"))
    inside = (source >= 0) & (source < len(nodes)) & (target >= 0) & (target < len(nodes))
    _require(bool(inside.all() and weight.isfinite().all()), "an edge of edges.parquet")
    rules = table["rule"].to_pylist()
    _require(set(rules) <= set(RULES), "a rule of edges.parquet")
    edges: dict[Rule, Edges] = {}
    for rule in RULES:
        here = torch.tensor([r == rule for r in rules], dtype=torch.bool)
        total, absolute = (
            torch.tensor(sums[f"{what}_{rule}"].to_pylist(), dtype=torch.float64)
            for what in ("total", "absolute")
        )
        _require(
            bool((total.isfinite() & absolute.isfinite() & (absolute >= 0)).all()), f"the sums by {rule}"
        )
        edges[rule] = Edges(source[here], target[here], weight[here], total, absolute)
        _require(bool((edges[rule].target.diff() >= 0).all()), "the order of edges.parquet")
    return edges, pattern[torch.tensor([r == "grad" for r in rules], dtype=torch.bool)]


def _require(right: bool, what: str) -> None:
    if not right:
        raise ValueError(f"{what} is not as it should be")
