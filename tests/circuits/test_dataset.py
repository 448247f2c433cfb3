"""Sums over text: a row's sums are its edges, rows add, and the scale is that of the formula."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import probe, simple_mlp

from rankone.circuits.attribution.cut import cut
from rankone.circuits.attribution.edges import all_edges
from rankone.circuits.attribution.nodes import by_importance, nodes_of
from rankone.circuits.choosing.masks import masked_prompt
from rankone.circuits.dataset import Sums, row_sums, sums_over
from rankone.circuits.records import RULES
from rankone.text.blocks import Blocks

TARGETS = ("h.1.mlp.down_proj:2", "h.1.attn.o_proj:1", "h.0.mlp.down_proj:0")


@pytest.fixture(scope="module")
def opened():
    model = simple_mlp()
    return model, decomposed(model)


def test_a_rows_sums_are_its_edges_times_importance(opened):
    model, parts = opened
    ids = probe(1, 6)[0]
    places = [parts.locate(name) for name in TARGETS]
    found = row_sums(model, parts, places, ids)
    with masked_prompt(model, parts, ids) as prompt:
        g = prompt.importance
    assert torch.allclose(found.importance, g.sum(0).double())
    # All parts as nodes at all positions, so that every target is one; sources by their importance.
    for rule in RULES:
        made = cut(model, ids, rule)
        everywhere = by_importance(parts, torch.ones_like(g))
        nodes = nodes_of(model, parts, made, everywhere, g)
        edges = all_edges(made, nodes, [], len(nodes.table))
        expected = torch.zeros(len(TARGETS), parts.total, dtype=torch.float64)
        names = {name: i for i, name in enumerate(parts.names())}
        for s, t, w in zip(edges.source.tolist(), edges.target.tolist(), edges.weight.tolist(), strict=True):
            source, target = nodes.table[s], nodes.table[t]
            into = f"{target.place}:{target.number}"
            if into in TARGETS and source.kind == "subcomponent":
                expected[TARGETS.index(into), names[f"{source.place}:{source.number}"]] += (
                    w * source.importance
                )
        assert torch.allclose(found.edges[rule], expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_rows_add_and_unimportant_sources_are_nothing(opened):
    model, parts = opened
    ids = probe(2, 5)
    blocks = Blocks(ids, torch.ones_like(ids, dtype=torch.bool))
    whole = sums_over(model, parts, TARGETS, {"de": blocks})["de"]
    places = [parts.locate(name) for name in TARGETS]
    one, other = (row_sums(model, parts, places, row) for row in ids)
    for rule in RULES:
        assert torch.allclose(whole.edges[rule], one.edges[rule] + other.edges[rule])
    assert torch.allclose(whole.importance, one.importance + other.importance)
    assert torch.allclose(whole.squares, one.squares + other.squares)
    assert (one.squares > 0).all()
    assert (other.squares > 0).all()
    assert whole.tokens == 10


def test_the_scale_by_hand():
    sums = Sums(
        {rule: torch.tensor([[6.0, 1.0]], dtype=torch.float64) for rule in RULES},
        torch.tensor([3.0, 0.0], dtype=torch.float64),
        torch.tensor([16.0], dtype=torch.float64),
        4,
    )
    assert sums.scaled("grad").tolist() == [[1.0, 0.0]]  # 6 / 3 / RMS 2; never important: 0
