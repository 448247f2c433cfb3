"""A graph on disk: nodes and edges as Parquet, `graph.json`, and `verification.json` once it was verified."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from rankone.circuits.build import belonging
from rankone.circuits.graph import Graph
from rankone.circuits.records import GraphRecord, Verification
from rankone.circuits.tables import read_edges, read_nodes, write_tables
from rankone.core.artifact import Artifact, new_artifact, open_artifact, write_json
from rankone.core.errors import RankOneError
from rankone.core.reading import reading
from rankone.parts.parts import Parts
from rankone.parts.target import require_target
from rankone.sharing.fetching import local
from rankone.sharing.stored import Stored

KIND = "graph"


def save_graph(
    graph: Graph, path: Path | str, verification: Verification | None = None, replace: bool = False
) -> Path:
    """Write a graph as an artefact. With `replace` a graph there is exchanged."""
    with new_artifact(path, KIND, {}, replace) as staging:
        write_json(staging / "graph.json", graph.record.plain(), constants=True)
        write_tables(graph, staging)
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
        nodes, flow = read_nodes(artifact, record)
        edges, pattern = read_edges(artifact, nodes)
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
