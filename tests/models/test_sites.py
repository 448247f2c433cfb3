"""Sites of three architectures: names, shapes, orientation, order, and the errors."""

from __future__ import annotations

import pytest
import torch
from tests.helpers import gpt2, llama, probe, simple_mlp
from torch import nn

from rankone.core.errors import RankOneError
from rankone.models.sites import find_sites, left_out, shares_memory, site_named, weight_of


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
        ("lm_head", "'lm_head' is not a site: its weight is tied to the embedding"),
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


def test_a_weight_that_two_layers_share_is_left_out_with_the_reason():
    model = llama()
    first, second = (layer.mlp for layer in model.model.layers)
    second.up_proj.weight = first.up_proj.weight
    reasons = left_out(model)
    assert set(reasons) == {"model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"}
    assert "shared with 'model.layers.0.mlp.up_proj'" in reasons["model.layers.1.mlp.up_proj"]
    assert not reasons.keys() & shapes(model).keys()
    with pytest.raises(RankOneError, match=r"is not a site: its weight is shared with 'model\.layers\.1"):
        find_sites(model, ["model.layers.0.mlp.up_proj"])


def test_views_of_one_tensor_are_shared_and_neighbours_in_a_file_are_not():
    model = llama()
    storage = torch.zeros(3, 40, 24)
    for i, (layer, name) in enumerate([(0, "up_proj"), (0, "gate_proj"), (1, "up_proj")]):
        getattr(model.model.layers[layer].mlp, name).weight = nn.Parameter(storage[i])
    assert left_out(model) == {}
    model.model.layers[1].mlp.gate_proj.weight = nn.Parameter(storage.flatten()[30 : 30 + 960].view(40, 24))
    assert set(left_out(model)) == {
        "model.layers.0.mlp.gate_proj",
        "model.layers.0.mlp.up_proj",
        "model.layers.1.mlp.gate_proj",
    }


def test_a_layer_used_in_two_places_is_left_out():
    model = llama()
    model.model.layers[1].mlp = model.model.layers[0].mlp
    assert "shared with 'model.layers.1.mlp.up_proj'" in left_out(model)["model.layers.0.mlp.up_proj"]
    assert not any(".mlp." in name for name in shapes(model))


def test_a_parametrised_weight_and_a_forward_of_its_own_are_left_out():
    class Scaled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    model = llama()
    nn.utils.parametrizations.weight_norm(model.model.layers[0].mlp.up_proj)
    model.model.layers[1].mlp.up_proj = Scaled(24, 40, bias=False)
    reasons = left_out(model)
    assert "a parametrisation" in reasons["model.layers.0.mlp.up_proj"]
    assert "Scaled with a forward of its own" in reasons["model.layers.1.mlp.up_proj"]


def test_fused_experts_are_refused_with_what_can_be_decomposed():
    from tests.models.families import FAMILIES

    model = FAMILIES["mixtral"][0]()
    message = (
        r"4 experts are fused into one 3-D parameter of MixtralExperts.*Attention and dense or shared MLPs"
    )
    with pytest.raises(RankOneError, match=message):
        find_sites(model, ["*.experts.*"])


def test_eight_bit_floats_count_as_quantised():
    model = simple_mlp()
    packed = torch.zeros(40, 24).to(torch.float8_e4m3fn)
    model.h[0].mlp.c_fc.weight = nn.Parameter(packed, requires_grad=False)
    with pytest.raises(RankOneError, match="is quantised or packed"):
        find_sites(model)


def test_falcons_own_linear_is_plain():
    """It spells y = W x + b out; a kind that is not known to be plain is left out by name (above)."""
    from transformers import FalconConfig, FalconForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = FalconForCausalLM(FalconConfig(vocab_size=64, bias=True, **sizes)).eval()
    sites = find_sites(model)
    assert len(sites) == 8
    for site in sites:
        site.module.bias.data.normal_()
        x = torch.randn(3, site.d_in)
        assert torch.allclose(
            site.module(x), nn.functional.linear(x, weight_of(site), site.module.bias), atol=1e-6
        )


def test_a_weight_of_another_kind_of_tensor_is_refused_by_name():
    """As torchao's Int8Tensor, whose dtype is float32."""

    class Int8Tensor(torch.Tensor):
        pass

    model = llama()
    layer = model.get_submodule("model.layers.1.mlp.up_proj")
    layer.weight = nn.Parameter(layer.weight.detach().as_subclass(Int8Tensor))
    with pytest.raises(
        RankOneError, match=r"weight of 'model\.layers\.1\.mlp\.up_proj' is quantised or packed \(Int8Tensor"
    ):
        find_sites(model)
