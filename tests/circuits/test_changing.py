"""A change predicted beside what happens; nodes kept alone; places and what they must not be."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import simple_mlp

from rankone.circuits.asking.places import Place
from rankone.circuits.asking.requests import GraphInterveneRequest
from rankone.circuits.changing import changes_of, kept_rows, likely, nodes_at, outcomes
from rankone.circuits.intervene import Change, continued
from rankone.circuits.stability import compared
from rankone.core.errors import RankOneError


def test_places_are_read():
    assert Place.of("h.0.mlp.c_fc:3@4") == Place("h.0.mlp.c_fc:3", 4)
    assert Place.of("neuron/h.0.mlp.c_fc:3@all") == Place("neuron/h.0.mlp.c_fc:3", None, True)
    assert str(Place.of("h.0.mlp.c_fc:3")) == "h.0.mlp.c_fc:3"
    for wrong in ("h.0.mlp.c_fc", "a:1@", "a:1@x", "@3", "a:b"):
        with pytest.raises(ValueError, match="names no place"):
            Place.of(wrong)


def test_what_is_asked_of_an_intervention():
    def asked(**given):
        return GraphInterveneRequest.checked({"graph": "g", **given}, "graph-intervene")

    assert asked(scale=["a:1@2=-3"]).scale == {"a:1@2": -3.0}
    for given, said in (
        ({}, "nothing to do"),
        ({"keep": "all", "drop": "a:1"}, "one at a time"),
        ({"drop": "a:1", "scale": {"a:1": 2}}, "dropped and scaled"),
        ({"drop": "a"}, "names no place"),
        ({"keep": "a:1,all"}, "'all' is the whole graph: --keep all, and no other place beside it"),
        ({"drop": "all"}, "'all' is for --keep"),
        ({"keep": "all", "continue_": 3}, "leave --prompt and --continue out"),
    ):
        with pytest.raises(RankOneError, match=said):
            asked(**given)


def test_the_graph_predicts_what_one_small_change_does(case):
    graph, ids = case.made.graph, torch.tensor(case.made.graph.record.ids)
    last = max(graph.chosen, key=lambda i: (graph.nodes[i].position, i))
    name = f"{graph.part(last)}@{graph.nodes[last].position}"
    changes = changes_of(graph, {name: 1.01})
    assert changes == [Change(graph.part(last), 1.01, (graph.nodes[last].position,))]
    rows, before, after = outcomes(graph, case.model, case.parts, changes, ids)
    # The last matrix before the logits: all of its effect is one edge, and `grad` has its slope.
    assert rows[0].happened == pytest.approx(rows[0].predicted_direct["grad"], rel=0.05, abs=1e-5)
    assert rows[0].predicted["grad"] == pytest.approx(rows[0].predicted_direct["grad"])
    assert rows[0].before == pytest.approx(graph.nodes[graph.outputs[0]].value, abs=1e-4)
    assert sum(r.after for r in likely(before, after, case.words)) <= 1.0


def test_likely_tokens_are_spelled_by_their_bytes(case):
    (byte, _) = case.words("é", add_special_tokens=False)["input_ids"]
    logits = torch.zeros(2, 300)
    logits[0, byte] = 30.0
    assert likely(logits[0], logits[1], case.words)[0].token == "<0xC3>"


def test_a_part_everywhere_is_the_weight_and_goes_on_in_what_is_generated(case):
    graph, ids = case.made.graph, torch.tensor(case.made.graph.record.ids)
    name = graph.part(graph.chosen[-1])
    assert changes_of(graph, {f"{name}@all": -40.0}) == [Change(name, -40.0)]
    plain, turned = (
        continued(case.model, case.parts, ids, c, 5) for c in ([], changes_of(graph, {f"{name}@all": -40.0}))
    )
    assert len(plain) == len(turned) == 5
    assert not torch.equal(plain, turned)


def test_a_place_that_the_graph_lacks_is_refused_with_some_that_it_has(case):
    graph = case.made.graph
    here = graph.part(graph.chosen[0])
    assert nodes_at(graph, Place(here))[0] == graph.chosen[0]
    with pytest.raises(RankOneError, match=r"not at 63"):
        nodes_at(graph, Place(here, 63))
    with pytest.raises(RankOneError, match="Its strongest are"):
        nodes_at(graph, Place("h.0.mlp.c_fc:999"))
    with pytest.raises(RankOneError, match="twice"):
        changes_of(graph, {here: 0.0, f"{here}@all": 2.0})


def test_all_nodes_kept_under_every_kind_of_mask(case):
    rows = kept_rows(case.made.graph, case.model, case.parts, case.made.graph.chosen)
    # What was said when the graph was made, of nodes that importance did not choose too: those are let through whole.
    assert rows == [r for r in case.made.graph.record.masked if not r.random]
    assert all(p.requires_grad for p in simple_mlp().parameters())


def test_fits_are_compared_by_their_nodes():
    row = compared("seed 1", ["a", "b", "c"], ["b", "c", "d", "e"])
    assert (row.nodes, row.shared, row.jaccard) == (4, 2, pytest.approx(0.4))
