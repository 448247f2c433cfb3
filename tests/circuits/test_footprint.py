"""The memory told before a graph is made: what a cut holds, and how many edges there can be."""

from __future__ import annotations

import pytest
import torch
from tests.circuits.test_attribution import drawn_edges, every, parts_of
from tests.helpers import probe as token_rows
from tests.models.families import FAMILIES

from rankone.circuits.attribution import footprint


@every
def test_what_a_cut_of_a_long_prompt_holds_is_told_from_short_ones(family):
    model, ids = FAMILIES[family][0](), token_rows(1, 30)[0]
    assert footprint.cut_bytes(model, ids) == pytest.approx(footprint._held(model, ids), rel=0.05)
    assert footprint.cut_bytes(model, ids[:9]) == footprint._held(model, ids[:9])


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
