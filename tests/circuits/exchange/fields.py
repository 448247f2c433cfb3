"""The fields that circuit-tracer's `graph_models.py` (0.4) and Neuronpedia's schema ask of a graph file.

* required by circuit-tracer, † by Neuronpedia, of docs/circuits.md; extra keys pass in both.
"""

from __future__ import annotations

import re

METADATA = {"slug": str, "scan": str, "prompt": str, "prompt_tokens": list}
QPARAMS = {"pinnedIds": list, "supernodes": list, "linkType": str, "clickedId": str, "sg_pos": str}
NODE = {
    "node_id": str,
    "feature": int,
    "layer": str,
    "ctx_idx": int,
    "feature_type": str,
    "jsNodeId": str,
    "clerp": str,
    "token_prob": float,
    "is_target_logit": bool,
    "run_idx": int,
    "reverse_ctx_idx": int,
}
LINK = {"source": str, "target": str, "weight": float}
TYPES = {
    "cross layer transcoder",
    "mlp reconstruction error",
    "embedding",
    "logit",
    "lorsa",
    "lorsa error",
    "bias",
    "unknown",
}


def has(document: dict, fields: dict) -> None:
    """Every field is there and of its type; a bool is not a number."""
    for name, kind in fields.items():
        assert type(document[name]) is kind, (name, document[name])


def check(document: dict, neuronpedia: bool) -> None:
    """A whole file."""
    meta, nodes, links = document["metadata"], document["nodes"], document["links"]
    has(meta, METADATA)
    assert all(type(t) is str for t in meta["prompt_tokens"])
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", meta["slug"])
    # Null is not a number at Neuronpedia's; with a number both show nodes whose influence is at most that.
    assert "node_threshold" not in meta or type(meta["node_threshold"]) is float
    has(document["qParams"], QPARAMS)
    if neuronpedia:
        assert "schema_version" not in meta
        assert re.fullmatch(r"[A-Za-z0-9_.-]+", meta["scan"])
    else:
        assert meta["schema_version"] == 1
        assert type(meta["transcoder_list"]) is list
    for node in nodes:
        has(node, NODE)
        assert node["feature_type"] in TYPES
        for name in ("influence", "activation"):
            assert node[name] is None or type(node[name]) is float
        assert 0 <= node["ctx_idx"] < len(meta["prompt_tokens"])
        assert node["layer"] == "E" or node["layer"].isdecimal()
        assert abs(node["feature"]) < 2**53
        assert node["feature_type"] != "logit" or "(p=" in node["clerp"]
    ids = [node["node_id"] for node in nodes]
    assert len(set(ids)) == len(ids)
    assert len({(n["layer"], n["feature"], n["ctx_idx"], n["feature_type"]) for n in nodes}) == len(nodes)
    assert sum(node["is_target_logit"] for node in nodes) == 1
    for link in links:
        has(link, LINK)
        assert {link["source"], link["target"]} <= set(ids)
