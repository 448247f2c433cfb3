"""A graph on disk: nodes and edges as Parquet, `graph.json`, and `verification.json` once it was verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from transformers import PreTrainedModel

from rankone.circuits.attribution.edges import Edges
from rankone.circuits.attribution.nodes import Node
from rankone.circuits.build import belonging
from rankone.circuits.graph import Graph
from rankone.circuits.records import RULES, GraphRecord, Kind, Rule, Verification
from rankone.core.artifact import Artifact, new_artifact, open_artifact, write_json
from rankone.core.errors import RankOneError
from rankone.core.reading import reading
from rankone.parts.parts import Parts
from rankone.parts.target import require_target
from rankone.sharing.fetching import local
from rankone.sharing.stored import Stored

KIND = "graph"
_NODES = ("node", "kind", "place", "position", "number", "value", "importance", "probability", "influence")
_SUMS = tuple(f"{what}_{rule}" for rule in RULES for what in ("total", "absolute"))


def save_graph(
    graph: Graph, path: Path | str, verification: Verification | None = None, replace: bool = False
) -> Path:
    """Write a graph as an artefact. With `replace` a graph there is exchanged."""
    with new_artifact(path, KIND, {}, replace) as staging:
        write_json(staging / "graph.json", graph.record.plain(), constants=True)
        pq.write_table(_node_table(graph), staging / "nodes.parquet", compression="zstd")
        pq.write_table(_edge_table(graph), staging / "edges.parquet", compression="zstd")
        if verification is not None:
            write_json(staging / "verification.json", verification.plain(), constants=True)
    return Path(path)


@dataclass(frozen=True)
class SavedGraph(Stored):
    """A graph as it lies on disk; verification: None where it was not verified."""

    artifact: Artifact
    graph: Graph
    verification: Verification | None

    @classmethod
    def from_pretrained(cls, name: Path | str) -> SavedGraph:
        """Read a folder, Hub id (OWNER/NAME, or with @REVISION) or address; errors as `load_graph`, and the Hub's."""
        return load_graph(local(name, KIND))


def load_graph(path: Path | str) -> SavedGraph:
    """Read a graph; RankOneError for one that was altered, or whose tables do not fit each other."""
    artifact = open_artifact(path, KIND)
    with reading(artifact.path):
        record = GraphRecord.checked(artifact.json("graph.json"), str(artifact.path / "graph.json"))
        nodes, flow = _nodes(artifact, record)
        edges, pattern = _edges(artifact, nodes)
        verified = None
        if "verification.json" in artifact:
            where = str(artifact.path / "verification.json")
            verified = Verification.checked(artifact.json("verification.json"), where)
        return SavedGraph(artifact, Graph(record, nodes, edges, flow, pattern), verified)


def require_origin(graph: Graph, model: PreTrainedModel, parts: Parts, path: Path | str) -> None:
    """RankOneError unless the graph is of this model, as a whole, and of these parts."""
    record = graph.record
    require_target(model, record.model, record.weights, path)
    given = belonging(model, parts)
    if record.target not in (None, given.target):
        raise RankOneError(
            f"'{path}' is a graph of another model: what has parts is the same, other weights are not. Give the model it "
            f"was made from, '{record.model}', as --model DIR."
        )
    if (record.origin, record.parts) != (given.origin, given.parts):
        raise RankOneError(
            f"'{path}' is a graph of other parts: give the --decomposition, or --parts, it was made with."
        )
    if record.decomposition not in (None, given.decomposition):
        raise RankOneError(
            f"'{path}' is a graph of another decomposition: its parts are the same, their importances or numbers are not. "
            "Give the --decomposition it was made with."
        )


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


def _nodes(artifact: Artifact, record: GraphRecord) -> tuple[tuple[Node, ...], torch.Tensor]:
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


def _edges(artifact: Artifact, nodes: tuple[Node, ...]) -> tuple[dict[Rule, Edges], torch.Tensor]:
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
