"""Nodes of one component at one position as a supernode, in both flavours, and no more pinned than an address holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.circuits.exchange.fields import check

from rankone.circuits.exchange import supernodes, viewer
from rankone.circuits.exchange.neuronpedia import neuronpedia_document
from rankone.circuits.exchange.shown import shown
from rankone.circuits.exchange.supernodes import Grouping, pinned
from rankone.circuits.exchange.viewer import opened_state, viewer_document, write_viewer


def by_layer(graph) -> Any:
    """Components of the parts of a layer's MLP; all others are in none."""
    owner = {
        graph.part(i): f"c{graph.nodes[i].place[2]}" for i in graph.chosen if "mlp" in graph.nodes[i].place
    }
    return SimpleNamespace(owner=owner.get)


@pytest.fixture(scope="module")
def seen(case):
    return shown(case.made.graph, "frozen", 24, 300)


def test_parts_of_a_component_at_a_position_are_one_node(case, seen):
    graph, owner = case.made.graph, by_layer(case.made.graph).owner
    held = pinned(seen, Grouping(by_layer(graph)))
    assert held.left == 0
    assert len(held.supernodes) > 1
    for name, nodes in held.supernodes.items():
        component, _, position = name.partition(" at ")
        expected = [
            i
            for i in seen.nodes
            if graph.nodes[i].kind == "subcomponent"
            and owner(graph.part(i)) == component
            and graph.nodes[i].position == int(position)
        ]
        assert list(nodes) == expected
        assert len(nodes) > 1
        assert set(nodes) <= set(held.nodes)
    assert held.nodes[-1] == graph.outputs[0]
    words: Any = SimpleNamespace(words=lambda name: f"what {name} does")
    assert "c0 at 1: what c0 does" in pinned(seen, Grouping(by_layer(graph), words)).supernodes
    assert not pinned(seen).supernodes


def test_no_more_are_pinned_than_there_is_room_for(case, seen, monkeypatch):
    whole = pinned(seen, Grouping(by_layer(case.made.graph)))
    room = len(whole.nodes) - 1
    monkeypatch.setattr(supernodes, "PINNED", room)
    less = pinned(seen, Grouping(by_layer(case.made.graph)))
    assert len(less.nodes) <= room
    assert less.left == len(whole.supernodes) - len(less.supernodes) > 0


def test_both_flavours_and_the_address_have_them(case, seen, tmp_path):
    grouping = Grouping(by_layer(case.made.graph))
    document = viewer_document(seen, "s", opened_state(seen, grouping))
    other = neuronpedia_document(seen, "mini", None, grouping)
    check(document, neuronpedia=False)
    check(other, neuronpedia=True)
    groups = document["qParams"]["supernodes"]
    assert groups == other["qParams"]["supernodes"]
    assert groups
    ids = {node["node_id"] for node in document["nodes"]}
    assert all({*group[1:]} <= ids & {*document["qParams"]["pinnedIds"]} for group in groups)
    asked = parse_qs(urlsplit(write_viewer(seen, tmp_path, None, grouping)).query)
    assert asked["pinnedIds"] == [",".join(document["qParams"]["pinnedIds"])]
    assert asked["supernodes"][0].startswith('[["c')
    (tmp_path / "plain").mkdir()
    assert "supernodes" not in write_viewer(seen, tmp_path / "plain", None)


def test_what_a_viewer_opens_with_is_worked_out_once(seen, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(viewer, "pinned", lambda *given: asked.append(given) or pinned(*given))
    write_viewer(seen, tmp_path, None)
    assert len(asked) == 1
