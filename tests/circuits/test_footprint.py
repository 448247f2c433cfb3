"""The memory told before a graph is made: what a cut holds, and how many edges there can be."""

from __future__ import annotations

import weakref

import pytest
import torch
from tests.circuits.test_attribution import drawn_edges, every, parts_of
from tests.helpers import probe as token_rows
from tests.models.families import FAMILIES

from rankone.circuits import build
from rankone.circuits.attribution import cut as cutting
from rankone.circuits.attribution import footprint
from rankone.circuits.config import GraphConfig
from rankone.circuits.verification import cuts, removals
from rankone.circuits.verification.verify import verified


@every
def test_what_a_cut_of_a_long_prompt_holds_is_told_from_short_ones(family):
    model, ids = FAMILIES[family][0](), token_rows(1, 30)[0]
    assert footprint.cut_bytes(model, ids) == pytest.approx(footprint.measured_cut(model, ids)[1], rel=0.05)
    assert footprint.cut_bytes(model, ids[:9]) == footprint.measured_cut(model, ids[:9])[1]


@every
@pytest.mark.parametrize("rule", ["frozen", "grad"])
def test_there_are_no_more_edges_than_told(family, rule):
    model, ids = FAMILIES[family][0]().double(), token_rows(1, 6)[0]
    made, nodes, _, edges = drawn_edges(model, parts_of(model), ids, rule)
    told = footprint.edge_bound(made, nodes, 1)
    # Windows of attention, and effects below a millionth, are all that it does not see.
    assert 0.5 * told < len(edges.weight) <= told


def test_more_than_is_free_is_said(monkeypatch):
    said = []
    monkeypatch.setattr(footprint, "available_bytes", lambda device: 5e6)
    monkeypatch.setattr(footprint.log, "warning", said.append)
    footprint.log_memory("a graph", 4e6, torch.device("cpu"))
    assert not said
    footprint.log_memory("a graph", 6e6, torch.device("cpu"))
    assert "shorten the prompt" in said[0]


def test_no_more_cuts_are_held_than_are_told(case, monkeypatch):
    """The formula counts them: both rules', and one that is compared with them."""
    alive: list[weakref.ref] = []
    most, plain = [], cutting.cut

    def counted(*given, **more):
        made = plain(*given, **more)
        alive.append(weakref.ref(made.logits))
        most.append(sum(one() is not None for one in alive))
        return made

    for place in (build, footprint, cuts, removals):
        monkeypatch.setattr(place, "cut", counted)
    made = build.make_graph(
        case.model, case.words, case.parts, "the cat", GraphConfig(nodes="strongest", per_site=2)
    )
    verified(case.parts, made, checked=4)
    assert max(most) == footprint.CUTS
    del made
    asked = len(most)
    again = build.remade(case.made.graph, case.model, case.parts)
    # One cut by each rule, and none to tell what they take.
    assert len(most) == asked + 2
    verified(case.parts, again, checked=4)
    assert max(most) == footprint.CUTS
