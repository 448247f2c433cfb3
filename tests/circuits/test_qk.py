"""Pairs of query and key parts: their sums are the scores of the model, in every family; the closed form of rotation."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import probe as token_rows
from tests.helpers import simple_mlp
from tests.models.families import FAMILIES

from rankone.circuits.attribution.cut import cut
from rankone.circuits.qk import attended, contrasted, scored, static_table, strongest_pairs
from rankone.core.errors import RankOneError
from rankone.models.simple_mlp import rotary_tables, rotate
from rankone.models.sites import find_sites
from rankone.parts.parts import Parts


def whole_parts(model):
    """Parts that are the weights exactly: one per output."""
    factors = {}
    for site in find_sites(model):
        weight = site.module.weight.detach()
        weight = weight if weight.shape == (site.d_out, site.d_in) else weight.T
        factors[site.name] = (weight.T.clone(), torch.eye(site.d_out, dtype=weight.dtype))
    return Parts(factors, "outputs").frozen()


@pytest.mark.parametrize("family", ["simple_mlp", "gpt2", "gpt_neox", "llama", "qwen3", "gemma2"])
def test_pairs_sum_to_the_scores_of_the_model(family):
    model, ids = FAMILIES[family][0]().double(), token_rows(1, 7)[0]
    made = cut(model, ids, "frozen")
    maps = attended(made, 1)
    said = scored(made, maps, whole_parts(model))
    query, key = (side.detach()[0] for side in made.attended[1])
    key = key.repeat_interleave(maps.groups, dim=0)
    assert torch.allclose(said.whole, torch.einsum("hd,htd->ht", query[:, -1], key), rtol=1e-9)
    # Nothing is left over of the weights; only biases are, where there are some.
    if all(model.get_submodule(s).bias is None for s in (maps.query, maps.key)):
        assert float(said.left.abs().max()) < 1e-9 * float(said.whole.abs().max())
    assert float(contrasted(said.pairs).sum(1).abs().max()) < 1e-9 * float(said.pairs.abs().max())


def test_over_text_the_form_is_that_of_the_rotation():
    model, ids = simple_mlp().double(), token_rows(1, 6)[0]
    maps = attended(cut(model, ids, "frozen"), 0)
    parts = whole_parts(model)
    site_q, site_k = maps.query, maps.key
    assert (site_q, site_k) == ("h.0.attn.q_proj", "h.0.attn.k_proj")
    signs = (torch.ones(24), torch.ones(24))
    signs[0][3] = -1
    signs[1][10] = 0
    table = static_table(maps, parts, signs, 4)
    assert table.shape == (3, 4, 24, 24)
    # By hand for head 0, part 3 against keys 3 and 7, which rotation mixes, two tokens apart.
    (q, v_q), (k, v_k) = (
        (parts.vectors(f"outputs/{s}:{n}").u.view(3, 8), parts.vectors(f"outputs/{s}:{n}").v)
        for s, n in ((site_q, 3), (site_k, 3))
    )
    tables = rotary_tables(torch.tensor([[2, 0]]), 8, model.config.rope_theta)
    turned = rotate(torch.stack([q[0], k[0]]).view(1, 1, 2, 8), *tables)[0, 0]
    raw = -float(turned[0] @ turned[1]) * float(v_q.norm() * v_k.norm())
    other = float(table[0, 2, 3, 3])
    everything = static_table(maps, parts, (torch.ones(24), torch.ones(24)), 4)
    assert everything.square().mean((1, 2, 3)).tolist() == pytest.approx([1.0] * 3, rel=1e-9)
    (j,) = (parts.vectors(f"outputs/{site_k}:7").u.view(3, 8),)
    turned_j = rotate(torch.stack([q[0], j[0]]).view(1, 1, 2, 8), *tables)[0, 0]
    raw_j = -float(turned_j[0] @ turned_j[1]) * float(
        v_q.norm() * parts.vectors(f"outputs/{site_k}:7").v.norm()
    )
    assert float(table[0, 2, 3, 7]) / other == pytest.approx(raw_j / raw, rel=1e-6)
    assert raw * other > 0
    assert not table[:, :, :, 10].any()


def test_what_the_text_holds_beside_a_pair_changes_nothing_about_its_size():
    model, ids = simple_mlp().double(), token_rows(1, 6)[0]
    maps, parts = attended(cut(model, ids, "frozen"), 0), whole_parts(model)
    few, all_of_them = torch.zeros(24), torch.ones(24)
    few[3] = 1
    alone, among = (static_table(maps, parts, (signs, signs), 4) for signs in (few, all_of_them))
    assert torch.equal(alone[:, :, 3, 3], among[:, :, 3, 3])
    assert alone[:, :, 3, 3].any()


def test_learned_positions_are_no_part_of_the_form():
    """A map without rotation: every distance has the same table."""
    model, ids = FAMILIES["gpt2"][0]().double(), token_rows(1, 6)[0]
    maps, parts = attended(cut(model, ids, "frozen"), 0), whole_parts(model)
    signs = torch.ones(parts.counts[parts.sites.index(maps.query)])
    table = static_table(maps, parts, (signs, signs), 4)
    assert torch.allclose(table, table[:, :1].expand_as(table))


def test_a_layer_that_is_not_there():
    with pytest.raises(RankOneError, match="no attention in layer 2: the model has layers 0 to 1"):
        attended(cut(simple_mlp(), token_rows(1, 4)[0], "frozen"), 2)


def test_pairs_come_largest_first():
    assert strongest_pairs(torch.tensor([[1.0, -5], [2, 0]]), 2) == [(0, 1), (1, 0)]
