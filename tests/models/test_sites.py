"""Sites of three architectures: names, shapes, orientation, order, and the errors."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import gpt2, llama, probe, simple_mlp
from torch import nn

from rankone.errors import RankOneError
from rankone.models.sites import find_sites, shares_memory, site_named, weight_of


def shapes(model: nn.Module) -> dict[str, tuple[int, int]]:
    return {site.name: (site.d_out, site.d_in) for site in find_sites(model)}


def test_simple_mlp():
    expected = {}
    for i in range(2):
        expected |= {f"h.{i}.attn.{p}_proj": (24, 24) for p in "koqv"}
        expected |= {f"h.{i}.mlp.c_fc": (40, 24), f"h.{i}.mlp.down_proj": (24, 40)}
    found = shapes(simple_mlp())
    assert found == expected
    assert list(found) == sorted(expected)


def test_gpt2_is_transposed_and_its_fused_qkv_is_one_site():
    model = gpt2()
    assert shapes(model) == {
        f"transformer.h.{i}.{name}": shape
        for i in range(2)
        for name, shape in {
            "attn.c_attn": (72, 24),
            "attn.c_proj": (24, 24),
            "mlp.c_fc": (96, 24),
            "mlp.c_proj": (24, 96),
        }.items()
    }
    site = site_named(model, "transformer.h.0.mlp.c_fc")
    assert site.transposed
    x = torch.randn(5, 24)
    bias = site.module.bias
    assert torch.allclose(site.module(x), x @ weight_of(site).T + bias, atol=1e-6)


def test_llama_with_an_untied_head():
    found = shapes(llama())
    assert found["model.layers.1.self_attn.k_proj"] == (12, 24)
    assert found["model.layers.0.mlp.down_proj"] == (24, 40)
    assert len(found) == 14
    assert not any("lm_head" in name or "embed" in name for name in found)


def test_layers_are_in_numeric_order():
    names = [site.name for site in find_sites(llama(layers=11), ["*.mlp.up_proj"])]
    assert names == [f"model.layers.{i}.mlp.up_proj" for i in range(11)]


def test_weight_of_is_a_view():
    for model in (simple_mlp(), gpt2()):
        before = model(probe()).logits
        site = find_sites(model)[0]
        assert weight_of(site).shape == (site.d_out, site.d_in)
        assert not weight_of(site).requires_grad
        weight_of(site).mul_(2)
        assert not torch.equal(model(probe()).logits, before)


def test_patterns_select_and_do_not_repeat():
    model = simple_mlp()
    names = [s.name for s in find_sites(model, ["*.q_proj", "h.0.*", "h.0.attn.q_proj"])]
    assert names == sorted(names)
    assert len(names) == 7
    assert [s.name for s in find_sites(model, "h.1.mlp.c_fc")] == ["h.1.mlp.c_fc"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("h.0.mlp.c_fcc", r"no site matches 'h\.0\.mlp\.c_fcc'.*Nearest: h\.0\.mlp\.c_fc"),
        ("lm_head", "'lm_head' is no site: its weight is tied to the embedding"),
        ("wte", "it is an embedding"),
        ("h.0.mlp", "it is a MLP, not a linear map"),
        ("zzz*", r"no site matches 'zzz\*'.*The model has h\.0\.attn\.k_proj"),
    ],
)
def test_a_pattern_without_a_match_is_an_error(pattern, message):
    model = simple_mlp()
    with pytest.raises(RankOneError, match=message):
        find_sites(model, ["h.1.*", pattern])
    with pytest.raises(RankOneError, match=message):
        site_named(model, pattern)


def test_an_untied_head_is_no_site_either():
    with pytest.raises(RankOneError, match="outside the transformer blocks"):
        site_named(llama(), "lm_head")


def test_empty_patterns_and_foreign_models_are_errors():
    with pytest.raises(RankOneError, match="empty"):
        find_sites(simple_mlp(), [])
    with pytest.raises(RankOneError, match=r"no nn.Linear or Conv1D inside"):
        find_sites(nn.Sequential(nn.Linear(2, 2)))


def test_a_block_weight_tied_to_the_embedding_is_left_out():
    model = simple_mlp(hidden_size=24, intermediate_size=300)
    model.h[0].mlp.c_fc.weight = model.wte.weight
    assert "h.0.mlp.c_fc" not in shapes(model)
    with pytest.raises(RankOneError, match="tied to the embedding"):
        site_named(model, "h.0.mlp.c_fc")


def test_quantised_weights_are_refused():
    model = simple_mlp()
    packed = torch.zeros(40, 24, dtype=torch.int8)
    model.h[0].mlp.c_fc.weight = nn.Parameter(packed, requires_grad=False)
    with pytest.raises(RankOneError, match=r"'h\.0\.mlp\.c_fc' is quantised"):
        find_sites(model)


def test_shares_memory_compares_ranges_not_storages():
    storage = torch.zeros(10)
    assert not shares_memory(storage[:5], storage[5:])
    assert shares_memory(storage[:6], storage[5:])
    assert shares_memory(storage.view(2, 5).T, storage)
