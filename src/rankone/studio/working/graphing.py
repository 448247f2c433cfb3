"""What the worker answers on a saved graph: its strongest nodes and checks, its page, what a change of its nodes does."""

from __future__ import annotations

from pathlib import Path

from rankone.circuits.asking.evidence import require_same_parts
from rankone.circuits.asking.groups import group_rows, nodes_at
from rankone.circuits.asking.replies import GraphInterveneReply
from rankone.circuits.asking.requests import GraphInterveneRequest
from rankone.circuits.asking.summary import graph_reply, node_rows
from rankone.circuits.exchange.page import graph_page
from rankone.circuits.exchange.shown import shown
from rankone.circuits.graph import Graph, relabelled
from rankone.circuits.records import Rule, Verification
from rankone.circuits.storage import load_graph
from rankone.core.errors import RankOneError
from rankone.harvest.reading.store import HarvestStore
from rankone.opening import Opening
from rankone.studio.views.requests import GraphAsked, InterveneAsked
from rankone.studio.views.worker import GraphView
from rankone.verbs.table import verb_named

# The page sees no places on disk, which the refusal names.
OTHERS = (
    "The labels and the harvest that are open were made from another decomposition or model than this graph: its nodes are "
    "shown without them."
)
# Nodes that are drawn where nobody says how many, and the strongest edges among those that are.
DRAWN, EDGES = 120, 3000


def graph_view(opening: Opening, place: Path, asked: GraphAsked) -> GraphView:
    """A graph in figures; RankOneError for one that was altered."""
    graph, verification, _, said = _labelled(opening, place)
    reply = graph_reply(graph, verification, asked.rule, asked.nodes)
    return GraphView(
        graph=reply.model_copy(update={"not_compared": said}),
        exact=None if verification is None else verification.exact,
        pinned=tuple(node_rows(graph, asked.rule, nodes_at(graph, asked.pinned))),
        groups=tuple(group_rows(graph, asked.rule, asked.groups)),
    )


def drawn(opening: Opening, place: Path, rule: Rule = "frozen", nodes: int = DRAWN) -> str:
    """The script-free page of a graph, the one that `rankone graph-export --page` writes."""
    graph, verification, harvest, _ = _labelled(opening, place)
    return graph_page(shown(graph, rule, nodes, EDGES), verification, harvest)


def intervene(opening: Opening, place: Path, asked: InterveneAsked) -> GraphInterveneReply:
    """What the verb graph-intervene answers; places with factor 0 are dropped."""
    drop = tuple(name for name, factor in asked.changes.items() if factor == 0)
    scale = {name: factor for name, factor in asked.changes.items() if factor != 0}
    request = GraphInterveneRequest.checked(
        {"graph": place, "keep": asked.keep, "drop": drop, "scale": scale, "continue_": asked.tokens},
        "intervention",
    )
    reply = verb_named("graph-intervene").ask(opening, request)
    assert isinstance(reply, GraphInterveneReply)
    return reply.model_copy(update={"graph": Path(place.name), "opened": ""})  # a page sees no places on disk


def _labelled(
    opening: Opening, place: Path
) -> tuple[Graph, Verification | None, HarvestStore | None, tuple[str, ...]]:
    """A graph with the labels and the harvest that are open, where those are of its parts: else without either, and why."""
    saved, labels, harvest = load_graph(place), opening.labels, opening.harvest_store
    try:
        require_same_parts(saved.graph.record, place.name, harvest, labels)
    except RankOneError:
        return saved.graph, saved.verification, None, (OTHERS,)
    if labels is None:
        return saved.graph, saved.verification, harvest, ()
    words = {name: labels.words(name) for name in labels.names()}
    return relabelled(saved.graph, words), saved.verification, harvest, ()
