"""Where in a model's list of blocks the sites begin."""

from __future__ import annotations

from tests.helpers import llama, simple_mlp
from torch import nn

from rankone.models.blocks import blocks_of


def test_the_first_block_with_a_site():
    model = llama(layers=12)
    assert blocks_of(model, ["model.layers.11.mlp.up_proj", "model.layers.9.mlp.up_proj"]) == (
        "model.layers",
        9,
    )
    assert blocks_of(simple_mlp(), ["h.1.mlp.c_fc", "h.0.mlp.c_fc"]) == ("h", 0)


def test_the_outermost_list_counts():
    model = nn.Module()
    model.blocks = nn.ModuleList([nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]) for _ in range(3)])
    assert blocks_of(model, ["blocks.2.0", "blocks.1.1"]) == ("blocks", 1)


def test_sites_in_two_lists_or_none_have_no_common_start():
    model = nn.Module()
    model.a = nn.ModuleList([nn.Linear(2, 2)])
    model.b = nn.ModuleList([nn.Linear(2, 2)])
    model.c = nn.Linear(2, 2)
    assert blocks_of(model, ["a.0", "b.0"]) is None
    assert blocks_of(model, ["c"]) is None
