"""In which heads parts work, against the layouts of queries, keys and values of several families."""

from __future__ import annotations

import pytest
import torch
from tests.circuits.test_qk import whole_parts
from tests.helpers import probe as token_rows
from tests.models.families import FAMILIES

from rankone.circuits.attribution.cut import cut
from rankone.circuits.heads import head_shares
from rankone.models.sites import find_sites
from rankone.parts.parts import Parts


def alone(family):
    model = FAMILIES[family][0]().double()
    return model, cut(model, token_rows(1, 5)[0][:1], "frozen"), whole_parts(model)


def only(heads, *these):
    return pytest.approx([1 / len(these) if h in these else 0.0 for h in range(heads)], abs=1e-9)


@pytest.mark.parametrize("family", ["simple_mlp", "llama", "qwen3", "gemma2"])
def test_a_matrix_for_each_has_its_heads_one_after_another(family):
    """Every part writes one number: it works in one head, of keys and values in as many as share it."""
    model, made, parts = alone(family)
    sites = {s.name.rpartition(".")[2]: s for s in find_sites(model) if ".1." in s.name and "attn" in s.name}
    heads = made.attended[1][0].shape[1]
    width = sites["q_proj"].d_out // heads
    groups = sites["q_proj"].d_out // sites["k_proj"].d_out
    for leaf, role, each in (
        ("q_proj", "queries", 1),
        ("k_proj", "keys", groups),
        ("v_proj", "values", groups),
    ):
        for number in (0, width + 1):
            said = head_shares(made, parts, f"outputs/{sites[leaf].name}:{number}")
            head = number // width * each
            assert list(said) == [role]
            assert said[role].tolist() == only(heads, *range(head, head + each))
    assert head_shares(made, parts, next(n for n in parts.names() if "mlp" in n)) == {}


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_a_fused_matrix_has_them_by_its_layout(family):
    """GPT-2: all queries, all keys, all values; NeoX: of each head all three."""
    model, made, parts = alone(family)
    site = next(s for s in find_sites(model) if layer(s, ".1.") and s.d_out == 3 * s.d_in)
    heads, roles = made.attended[1][0].shape[1], ("queries", "keys", "values")
    width = site.d_in // heads
    for head in range(heads):
        for i, role in enumerate(roles):
            number = (i * heads + head if family == "gpt2" else head * 3 + i) * width + 1
            said = head_shares(made, parts, f"outputs/{site.name}:{number}")
            # A rotation of half a head mixes numbers of it, and of no other.
            assert {r: s.tolist() for r, s in said.items()} == {role: only(heads, head)}


def layer(site, number):
    return number in site.name and ("attn" in site.name or "attention" in site.name)


def test_the_output_matrix_reads_heads_one_after_another_and_mixtures_are_shared():
    model, made, _ = alone("simple_mlp")
    generator, factors = torch.Generator().manual_seed(0), {}
    for site in find_sites(model):
        shapes = ((site.d_in, 2), (2, site.d_out))
        factors[site.name] = tuple(torch.randn(*s, generator=generator).double() for s in shapes)
    parts = Parts(factors, "drawn").frozen()
    heads = made.attended[0][0].shape[1]
    v = factors["h.0.attn.o_proj"][0][:, 1].view(heads, -1)
    said = head_shares(made, parts, "drawn/h.0.attn.o_proj:1")
    assert said["output"].tolist() == pytest.approx((v.square().sum(1) / v.square().sum()).tolist())
    u = factors["h.0.attn.k_proj"][1][0].view(heads, -1)
    said = head_shares(made, parts, "drawn/h.0.attn.k_proj:0")
    assert said["keys"].tolist() == pytest.approx((u.square().sum(1) / u.square().sum()).tolist())
