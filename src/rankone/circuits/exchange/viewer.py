"""Files that open in circuit-tracer's own viewer: `circuit-tracer start-server --graph_file_dir DIR`, then
`/index.html?slug=SLUG`. The format is that of its `graph_models.py` at 0.4; nothing of it is imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlencode

from pydantic import JsonValue

from rankone.circuits.attribution.nodes import Node
from rankone.circuits.exchange.features import feature_file
from rankone.circuits.exchange.rows import Rows, cantor, row_of
from rankone.circuits.exchange.shown import Shown
from rankone.circuits.exchange.supernodes import Grouping, pinned
from rankone.circuits.records import REST
from rankone.core.files import write_json
from rankone.harvest.reading.store import HarvestStore

Json = dict[str, JsonValue]
KINDS = (*REST, "bias", "operation bias")
FEATURE, ERROR = "cross layer transcoder", "mlp reconstruction error"


def write_viewer(
    shown: Shown, folder: Path, harvest: HarvestStore | None, grouping: Grouping | None = None
) -> str:
    """Write graph, its entry and a file for every feature below an empty folder; the address part that opens it."""
    slug = slug_of(shown)
    state = opened_state(shown, grouping)
    document = viewer_document(shown, slug, state)
    write_json(folder / f"{slug}.json", document)
    write_json(folder / "graph-metadata.json", {"graphs": [document["metadata"]]})
    home = folder / "features" / slug
    home.mkdir(parents=True)
    for part, feature in features(shown).items():
        write_json(home / f"{feature}.json", feature_file(part, feature, harvest))
    address = {"slug": slug, "pinnedIds": ",".join(state.pinned), "clickedId": state.pinned[0]}
    if state.supernodes:
        address["supernodes"] = json.dumps(state.supernodes)
    return f"/index.html?{urlencode(address)}"


def slug_of(shown: Shown) -> str:
    """A name of letters, digits and dashes, from the prompt."""
    words = re.sub(r"[^a-zA-Z0-9]+", "-", shown.graph.record.prompt).strip("-").lower()
    return f"{words[:40].strip('-') or 'graph'}-{shown.rule}"


@dataclass(frozen=True)
class State:
    """What a viewer is opened with: ids of pinned nodes, and supernodes as name and ids."""

    pinned: list[str]
    supernodes: list[list[str]]


def opened_state(shown: Shown, grouping: Grouping | None) -> State:
    """The strongest parts and the supernodes of a graph, by the files' ids."""
    rows, held = Rows(shown.graph), pinned(shown, grouping)
    grouped = [[name, *(node_id(shown, rows, i) for i in nodes)] for name, nodes in held.supernodes.items()]
    return State([node_id(shown, rows, i) for i in held.nodes], grouped)


def viewer_document(shown: Shown, slug: str, state: State) -> Json:
    """The whole graph file."""
    rows = Rows(shown.graph)
    ids = {i: node_id(shown, rows, i) for i in shown.nodes}
    return {
        "metadata": {
            **common_metadata(shown, slug, f"./data/features/{slug}"),
            "transcoder_list": [],
            "schema_version": 1,
        },
        "qParams": {
            "pinnedIds": [*state.pinned],
            "supernodes": [[*group] for group in state.supernodes],
            "linkType": "both",
            "clickedId": state.pinned[0],
            "sg_pos": "",
        },
        "nodes": [viewer_node(shown, rows, i) for i in shown.nodes],
        "links": links(shown, ids),
    }


def links(shown: Shown, ids: dict[int, str]) -> list[JsonValue]:
    """The edges; those that act through attention patterns alone are marked (a key that both leave alone)."""
    made: list[JsonValue] = []
    for s, t, w, pattern in zip(shown.source, shown.target, shown.weight, shown.pattern, strict=True):
        mark: Json = {"pattern": True} if pattern else {}
        made.append({"source": ids[s], "target": ids[t], "weight": w, **mark})
    return made


def common_metadata(shown: Shown, slug: str, scan: str) -> Json:
    """What both flavours say of a graph."""
    record = shown.graph.record
    return {
        "slug": slug,
        "scan": scan,
        "prompt": record.prompt,
        "prompt_tokens": list(record.tokens),
        "info": {
            "description": f"{record.origin or 'VPD'} parts, edges by the {shown.rule} rule; {len(shown.nodes):,} of "
            f"{len(shown.graph.nodes):,} nodes and {len(shown.weight):,} of {shown.edges:,} edges",
            "generator": {"name": "rankone", "version": version("rankone")},
        },
        "generation_settings": {"rule": shown.rule, "node_set": record.node_set},
        **_pruning(shown),
    }


def _pruning(shown: Shown) -> Json:
    """The shares that it was pruned to, where it was: with the first a viewer offers to prune further."""
    if shown.thresholds is None:
        return {}
    nodes, edges = shown.thresholds.nodes, shown.thresholds.edges
    return {
        "node_threshold": nodes,
        "pruning_settings": {"node_threshold": nodes, "edge_threshold": edges},
    }


def features(shown: Shown) -> dict[str, int]:
    """Part → the number of its feature, of all parts shown."""
    rows, graph = Rows(shown.graph), shown.graph
    return {
        graph.part(i): cantor(row_of(n.place), rows.index(n.place, n.number))
        for i, n in _nodes(shown)
        if n.kind == "subcomponent"
    }


def node_id(shown: Shown, rows: Rows, node: int) -> str:
    """Unique among the nodes; of circuit-tracer's forms."""
    here = shown.graph.nodes[node]
    if here.kind == "output":
        return f"{rows.count}_{_output_number(shown, node)}_{here.position}"
    if here.kind in ("embedding", "position"):
        vocabulary = shown.graph.record.ids[here.position] if here.kind == "embedding" else f"P{here.place}"
        return f"E_{vocabulary}_{here.position}"
    row = row_of(here.place)
    if here.kind == "subcomponent":
        return f"{row}_{rows.index(here.place, here.number)}_{here.position}"
    return f"0_{row}.{_unexplained(shown, rows, node)}_{here.position}"


def viewer_node(shown: Shown, rows: Rows, node: int) -> Json:
    """One node of the file."""
    graph, here = shown.graph, shown.graph.nodes[node]
    made: Json = {
        "node_id": node_id(shown, rows, node),
        "feature": -1 - _unexplained(shown, rows, node),
        "layer": str(row_of(here.place)),
        "ctx_idx": here.position,
        "feature_type": ERROR,
        "jsNodeId": f"{row_of(here.place)}_e{_unexplained(shown, rows, node)}-0",
        "clerp": clerp(shown, node),
        "token_prob": 0.0,
        "is_target_logit": False,
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "influence": shown.cumulative.get(node),
        "activation": None,
    }
    if here.kind == "subcomponent":
        index = rows.index(here.place, here.number)
        made |= {
            "feature": cantor(row_of(here.place), index),
            "feature_type": FEATURE,
            "jsNodeId": f"{row_of(here.place)}_{index}-0",
            "activation": here.value,
            "ci": here.importance,
            "subcomponent": graph.part(node),
        }
    elif here.kind in ("embedding", "position"):
        token = graph.record.ids[here.position] if here.kind == "embedding" else 0
        made |= {
            "feature": here.position,
            "layer": "E",
            "feature_type": "embedding",
            "jsNodeId": f"E_{token}-{here.position}",
        }
    elif here.kind == "output":
        number = _output_number(shown, node)
        made |= {
            "feature": number,
            "layer": str(rows.count),
            "feature_type": "logit",
            "jsNodeId": f"L_{number}-{here.position}",
            "token_prob": 0.0 if here.probability is None else here.probability,
            "is_target_logit": node == graph.outputs[0],
        }
    return made


def clerp(shown: Shown, node: int) -> str:
    """What a node is called; the viewer looks for `(p=` in those of outputs."""
    graph, here = shown.graph, shown.graph.nodes[node]
    if here.kind == "output":
        return f"Output {graph.name(node)} (p={here.probability or 0.0:.3f})"
    if here.kind == "subcomponent":
        label = graph.label(node)
        return graph.part(node) + (f" – {label}" if label else "")
    if here.kind in ("embedding", "position"):
        return "" if here.kind == "embedding" else f"position {here.position}"
    what = {"unselected": "rest", "delta": "remainder"}.get(here.kind, here.kind)
    return f"{what} of {here.place}"


def _nodes(shown: Shown) -> Iterator[tuple[int, Node]]:
    return ((i, shown.graph.nodes[i]) for i in shown.nodes)


def _unexplained(shown: Shown, rows: Rows, node: int) -> int:
    """A number for what is not a feature, unique in its row: by kind and site."""
    here = shown.graph.nodes[node]
    return rows.index(here.place, KINDS.index(here.kind)) if here.kind in KINDS else 0


def _output_number(shown: Shown, node: int) -> int:
    """Its token; of a contrast a number that no token has."""
    number = shown.graph.nodes[node].number
    return number if number >= 0 else 10**7 + node
