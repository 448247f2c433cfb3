"""Pruning by share of influence: by hand, against a dense computation, and against circuit-tracer's own function."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.circuits.circuit_tracer import circuit_tracer
from tests.circuits.exchange.fields import check

from rankone.circuits.asking.requests import GraphExportRequest
from rankone.circuits.attribution.edges import Edges
from rankone.circuits.attribution.nodes import Node
from rankone.circuits.exchange.neuronpedia import neuronpedia_document
from rankone.circuits.exchange.pruned import pruned
from rankone.circuits.exchange.viewer import opened_state, viewer_document
from rankone.circuits.graph import influence
from rankone.circuits.records import RULES, Thresholds
from rankone.core.errors import RankOneError

E, A, B, R, C, OUT = range(6)


@pytest.fixture
def small(case):
    """Into c flow 6 of a, 1 of b and −1 of what no part explains; into the output 6 of c, −3 of a and 1 of the latter."""
    site = "h.0.mlp.c_fc"
    nodes = (
        Node("embedding", "wte", 0),
        Node("subcomponent", site, 0, 0),
        Node("subcomponent", site, 0, 1),
        Node("unselected", site, 0),
        Node("subcomponent", "h.0.mlp.down_proj", 0, 2),
        Node("output", "logits", 0, 7, probability=0.5),
    )
    pairs = {(E, A): 4, (E, B): 1, (A, C): 6, (B, C): 1, (R, C): -1, (A, OUT): -3, (R, OUT): 1, (C, OUT): 6}
    source, target = torch.tensor(sorted(pairs, key=lambda pair: pair[::-1])).T.contiguous()
    weight = torch.tensor([float(pairs[s, t]) for s, t in zip(source.tolist(), target.tolist(), strict=True)])
    absolute = torch.zeros(6, dtype=torch.float64).index_add_(0, target, weight.abs().double())
    edges = Edges(source, target, weight, absolute, absolute)
    flow = influence(edges, {OUT: 1.0}, 6)
    return replace(case.made.graph, nodes=nodes, edges=dict.fromkeys(RULES, edges), influence=flow)


def pairs(seen):
    return set(zip(seen.source, seen.target, strict=True))


def test_by_hand(small):
    # Influence .825 of the token, .75 of a, .6 of c, .175 of what is not explained, .075 of b: 2.425 in all.
    whole = pruned(small, "frozen", Thresholds(nodes=1.0, edges=1.0))
    assert whole.nodes == tuple(range(6))
    assert len(whole.weight) == whole.edges == 8
    shares = [0.825, 1.575, 2.425, 2.35, 2.175]
    assert [whole.cumulative[i] for i in range(5)] == pytest.approx([s / 2.425 for s in shares])
    assert OUT not in whole.cumulative
    assert pruned(small, "frozen", Thresholds(nodes=0.8, edges=1.0)).nodes == (E, A, C, OUT)
    assert pruned(small, "frozen", Thresholds(nodes=0.64, edges=1.0)).nodes == (E, A, OUT)
    # Without b, c reads 6/7 of a: of 2.414 the edges carry .814 (E, a), .6, .514 (a, c), .3 (a, out), .1, .086 (r, c).
    kept = pruned(small, "frozen", Thresholds(nodes=0.95, edges=0.95))
    assert kept.nodes == (E, A, R, C, OUT)
    assert pairs(kept) == {(E, A), (C, OUT), (A, C), (A, OUT), (R, OUT)}
    kept = pruned(small, "frozen", Thresholds(nodes=0.95, edges=0.9))
    assert kept.nodes == (E, A, C, OUT)  # what is not explained feeds nothing any more
    assert kept.hidden == [B, R]
    # Of the two strongest edges a feeds nothing, then c reads nothing.
    none = pruned(small, "frozen", Thresholds(nodes=0.95, edges=0.55))
    assert (none.nodes, pairs(none)) == ((E, OUT), set())


def through(dense, weights):
    """Influence through all paths, w ((I − A)⁻¹ − I), of absolute edges [target, source]."""
    share = dense / np.maximum(dense.sum(1, keepdims=True), 1e-30)
    one = np.eye(len(dense))
    return share, weights @ (np.linalg.inv(one - share) - one)


def fewest(sizes, share):
    """The fewest that have this share of the sum, and those as large as the last of them."""
    ordered = -np.sort(-sizes.ravel())
    last = ordered[int(np.argmax(np.cumsum(ordered) / sizes.sum() >= share))]
    return sizes >= last * (1 - 1e-6)


def test_against_a_dense_computation(case):
    graph = case.made.graph
    kinds = np.array([n.kind for n in graph.nodes])
    stays = np.isin(kinds, ["embedding", "position", "output"])
    weights = np.array([n.probability or 0.0 for n in graph.nodes])
    for rule in RULES:
        edges, dense = graph.edges[rule], np.zeros((len(graph.nodes),) * 2)
        dense[edges.target.numpy(), edges.source.numpy()] = np.abs(edges.weight.numpy())
        _, flow = through(dense, weights)
        for nodes, links in ((0.5, 0.98), (0.8, 0.98), (0.95, 0.7)):
            seen = pruned(graph, rule, Thresholds(nodes=nodes, edges=links))
            kept = fewest(flow, nodes) | stays
            inside = dense * kept[:, None] * kept
            share, carried = through(inside, weights)
            linked = fewest(share * (carried + weights)[:, None], links)
            for _ in graph.nodes:
                kept &= stays | linked.any(0) & (linked.any(1) | (kinds != "subcomponent"))
                linked &= kept[:, None] & kept
            assert seen.nodes == tuple(np.flatnonzero(kept))
            assert pairs(seen) == {(s, t) for t, s in zip(*linked.nonzero(), strict=True)}
            assert 0 < len(seen.weight) < seen.edges


def test_where_nothing_has_influence_there_are_no_shares(small):
    none = torch.zeros(0, dtype=torch.long)
    edges = Edges(none, none, torch.zeros(0), torch.zeros(6), torch.zeros(6))
    still = replace(small, edges=dict.fromkeys(RULES, edges), influence=torch.zeros(6))
    with pytest.raises(RankOneError, match=r"is a share of nothing\. Give --nodes and --edges"):
        pruned(still, "frozen", Thresholds())


def test_files_say_what_they_were_pruned_to(case):
    seen = pruned(case.made.graph, "frozen", Thresholds(nodes=0.7, edges=0.9))
    for document, neuronpedia in (
        (viewer_document(seen, "slug", opened_state(seen, None)), False),
        (neuronpedia_document(seen, "mini"), True),
    ):
        check(document, neuronpedia)
        said = document["metadata"]
        assert said["node_threshold"] == 0.7
        assert said["pruning_settings"] == {"node_threshold": 0.7, "edge_threshold": 0.9}
        assert all(n["influence"] is not None for n in document["nodes"] if n["feature_type"] != "logit")


def test_counts_or_shares():
    def asked(**given):
        return GraphExportRequest.checked({"graph": "g", "page": "p.html", **given}, "graph-export")

    assert asked().thresholds is None
    assert asked(node_threshold=0.5).thresholds == Thresholds(nodes=0.5, edges=0.98)
    assert asked(edge_threshold=0.5).thresholds == Thresholds(nodes=0.8, edges=0.5)
    with pytest.raises(RankOneError, match=r"[^-]--edges counts, --node-threshold"):
        asked(node_threshold=0.5, edges=7)
    with pytest.raises(RankOneError, match="less than or equal to 1"):
        asked(node_threshold=80)


@pytest.mark.slow
def test_circuit_tracer_prunes_as_we_do(case, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(circuit_tracer(tmp_path))
    from circuit_tracer.graph import prune_graph  # pyright: ignore[reportMissingImports]

    graph = case.made.graph
    ranks = {"subcomponent": 0, "embedding": 2, "position": 2, "output": 3}
    order = sorted(range(len(graph.nodes)), key=lambda i: ranks.get(graph.nodes[i].kind, 1))
    kinds = [ranks.get(graph.nodes[i].kind, 1) for i in order]
    place = torch.tensor(order).argsort()
    for rule in RULES:
        edges = graph.edges[rule]
        dense = torch.zeros(len(order), len(order))
        dense[place[edges.target], place[edges.source]] = edges.weight.float()
        theirs = SimpleNamespace(
            adjacency_matrix=dense,
            selected_features=range(kinds.count(0)),
            input_tokens=range(kinds.count(2)),
            logit_targets=range(kinds.count(3)),
            logit_probabilities=torch.tensor([graph.nodes[i].probability for i in graph.outputs]),
        )
        for shares in (Thresholds(), Thresholds(nodes=0.5, edges=0.7), Thresholds(nodes=0.95, edges=0.9)):
            seen = pruned(graph, rule, shares)
            nodes, links, cumulative = prune_graph(theirs, shares.nodes, shares.edges)
            assert {order[i] for i in nodes.nonzero()[:, 0].tolist()} == set(seen.nodes)
            assert {(order[s], order[t]) for t, s in links.nonzero().tolist()} == pairs(seen)
            # In order, for of two that are equally strong either may come first.
            said = sorted(c for i, c in enumerate(cumulative.tolist()) if kinds[i] != 3)
            assert said == pytest.approx(sorted(seen.cumulative.values()), abs=1e-5)
