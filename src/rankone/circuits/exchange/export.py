"""Writing a saved graph in the formats that were asked for; nothing half-written is left."""

from __future__ import annotations

from pathlib import Path

from rankone.circuits.asking.evidence import require_same_parts
from rankone.circuits.asking.replies import GraphExportReply
from rankone.circuits.asking.requests import GraphExportRequest
from rankone.circuits.asking.summary import kind_rows
from rankone.circuits.asking.trust import trust
from rankone.circuits.exchange.neuronpedia import neuronpedia_document
from rankone.circuits.exchange.page import graph_page
from rankone.circuits.exchange.pruned import pruned
from rankone.circuits.exchange.shown import Shown, shown
from rankone.circuits.exchange.supernodes import Grouping, pinned
from rankone.circuits.exchange.viewer import write_viewer
from rankone.circuits.graph import Graph, relabelled
from rankone.circuits.storage import load_graph
from rankone.clustering.components import Components
from rankone.core.artifact import new_folder
from rankone.core.errors import RankOneError
from rankone.core.files import write_json, write_text
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.store import Labels


def exported(
    request: GraphExportRequest,
    harvest: HarvestStore | None,
    labels: Labels | None,
    components: Components | None = None,
) -> GraphExportReply:
    """Write every format that the request names; components: what nodes are grouped by in viewers."""
    saved = load_graph(request.graph)
    graph, verification = saved.graph, saved.verification
    _require_possible(request, graph)
    not_compared = require_same_parts(graph.record, f"'{request.graph}'", harvest, labels, components)
    grouping = None if components is None else Grouping(components, labels)
    if labels is not None:
        graph = relabelled(graph, {name: labels.words(name) for name in labels.names()})
    seen = _seen(request, graph)
    # What can be refused is made before anything is written.
    flavour = (
        None
        if request.neuronpedia is None
        else neuronpedia_document(seen, request.scan, request.features, grouping)
    )
    written: dict[str, Path] = {}
    opened: list[str] = []
    if request.page is not None:
        write_text(request.page, graph_page(seen, verification, harvest), new=True)
        written["page"] = request.page
    if request.viewer is not None:
        with new_folder(request.viewer) as staging:
            address = write_viewer(seen, staging, harvest, grouping)
        written["circuit-tracer"] = request.viewer
        opened += [
            f"open: circuit-tracer start-server --graph_file_dir {request.viewer}",
            f"      http://localhost:8041{address}",
        ]
    if request.neuronpedia is not None:
        write_json(request.neuronpedia, flavour, new=True)
        written["neuronpedia"] = request.neuronpedia
    held = None if grouping is None else pinned(seen, grouping)
    return GraphExportReply(
        graph=request.graph,
        written=written,
        shown=len(seen.nodes),
        nodes=len(graph.nodes),
        edges_shown=len(seen.weight),
        edges=seen.edges,
        influence_shown=seen.share,
        hidden=tuple(kind_rows(graph, request.rule, seen.hidden)),
        behind_patterns=len(graph.behind_patterns),
        rule=request.rule,
        not_compared=not_compared,
        supernodes=None if held is None else len(held.supernodes),
        supernodes_left=0 if held is None else held.left,
        opened=tuple(opened),
        trust=trust(graph.record, verification, request.rule),
    )


def _require_possible(request: GraphExportRequest, graph: Graph) -> None:
    if request.viewer is not None and graph.length == 1:
        raise RankOneError(
            f"'{request.graph}' is of a prompt of one token, of which circuit-tracer's viewer shows nothing: it hides what "
            "stands at more than two thirds of the positions. Give --page FILE in place of --viewer."
        )


def _seen(request: GraphExportRequest, graph: Graph) -> Shown:
    thresholds = request.thresholds
    if thresholds is None:
        return shown(graph, request.rule, request.nodes, request.edges)
    return pruned(graph, request.rule, thresholds)
