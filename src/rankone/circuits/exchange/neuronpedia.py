"""A graph in Neuronpedia's flavour: validated, not uploaded (a model that they do not list is refused there).

As the viewer's file, but: no schema version; layers are blocks, so that a part is told from its neighbours by a number
of its own in its block; biases count as what is not explained, since a glyph of their own spoils their scores; feature
panels come from an address that serves `{feature}.json`, or from their database.
"""

from __future__ import annotations

import re

from rankone.circuits.exchange.rows import STRETCH, Rows, row_of
from rankone.circuits.exchange.shown import Shown
from rankone.circuits.exchange.supernodes import Grouping
from rankone.circuits.exchange.viewer import (
    Json,
    common_metadata,
    links,
    node_id,
    opened_state,
    slug_of,
    viewer_node,
)
from rankone.core.errors import RankOneError

ROW = 16 * STRETCH
"""Numbers that a row of a block may take."""


def neuronpedia_document(
    shown: Shown, scan: str | None = None, features: str | None = None, grouping: Grouping | None = None
) -> Json:
    """The whole file; scan: the model's id there. RankOneError for one that cannot be an id."""
    rows = Rows(shown.graph)
    model = scan or re.sub(r"[^A-Za-z0-9_.-]+", "-", shown.graph.record.model).strip("-").lower()
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", model):
        raise RankOneError(
            f"'{model}' cannot be the id of a model there: letters, digits, dashes, dots. Give --scan ID."
        )
    ids = {i: node_id(shown, rows, i) for i in shown.nodes}
    details: Json = {} if features is None else {"feature_details": {"feature_json_base_url": features}}
    return {
        "metadata": {**common_metadata(shown, slug_of(shown), model), **details},
        "qParams": {"linkType": "both", "clickedId": "", "sg_pos": "", **_grouped(shown, grouping)},
        "nodes": [_node(shown, rows, i) for i in shown.nodes],
        "links": links(shown, ids),
    }


def _grouped(shown: Shown, grouping: Grouping | None) -> Json:
    if grouping is None:
        return {"pinnedIds": [], "supernodes": []}
    state = opened_state(shown, grouping)
    return {"pinnedIds": [*state.pinned], "supernodes": [[*group] for group in state.supernodes]}


def _node(shown: Shown, rows: Rows, node: int) -> Json:
    made = viewer_node(shown, rows, node)
    here = shown.graph.nodes[node]
    blocks = (rows.count + 3) // 4
    if here.kind == "output":
        return {**made, "layer": str(blocks)}
    if here.kind in ("embedding", "position"):
        return made
    # Rows of a block side by side: a number of its own for each of its parts, below zero for what no part explains.
    block, row = divmod(row_of(here.place), 4)
    if here.kind == "subcomponent":
        return {**made, "layer": str(block), "feature": row * ROW + rows.index(here.place, here.number)}
    feature = made["feature"]
    assert isinstance(feature, int)
    return {**made, "layer": str(block), "feature": feature - row * ROW}
