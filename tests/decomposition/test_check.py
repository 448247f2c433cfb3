"""The check of the wrap: sound models pass unchanged, and every way around a site is named."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from tests.helpers import llama, same, simple_mlp, snapshot
from torch import nn

from rankone.core.errors import RankOneError
from rankone.decomposition.check import check_wrap
from rankone.models.sites import find_sites


def refused(model, message, patterns=None):
    modules, before = dict(model.named_modules()), snapshot(model)
    flags = [p.requires_grad for p in model.parameters()]
    with pytest.raises(RankOneError, match=message):
        check_wrap(model, find_sites(model, patterns))
    assert dict(model.named_modules()) == modules
    assert same(model, before)
    assert [p.requires_grad for p in model.parameters()] == flags


def patched(model, forward):
    """The model with another forward in the MLP of its second block."""
    mlp = model.h[1].mlp if hasattr(model, "h") else model.model.layers[1].mlp
    mlp.forward = lambda x: forward(mlp, x)
    return model


def test_a_sound_model_passes_and_is_left_alone():
    model = simple_mlp().requires_grad_(False)
    before = snapshot(model)
    check_wrap(model, find_sites(model))
    assert same(model, before)
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(m._forward_pre_hooks for m in model.modules())


def test_a_weight_read_past_its_layer_is_named():
    def forward(mlp, x):
        return F.linear(F.silu(mlp.gate_proj(x)) * mlp.up_proj(x), mlp.down_proj.weight)

    refused(patched(llama(), forward), r"'model\.layers\.1\.mlp\.down_proj' is read past its layer \(1 such")


def test_a_weight_read_beside_a_call_is_named():
    def forward(mlp, x):
        gate = mlp.gate_proj(x)
        return mlp.down_proj(F.silu(gate) * mlp.up_proj(x) + 0.1 * x @ mlp.gate_proj.weight.T)

    refused(patched(llama(), forward), r"'model\.layers\.1\.mlp\.gate_proj' is read past its layer")


def test_a_layer_without_bias_may_be_asked_for_it():
    """As Mamba asks its `dt_proj`."""

    def forward(mlp, x):
        gate = mlp.gate_proj(x)
        hidden = gate if mlp.gate_proj.bias is None else gate + mlp.gate_proj.bias.float()
        return F.linear(F.silu(hidden) * mlp.up_proj(x), mlp.down_proj.weight)

    refused(patched(llama(), forward), r"'model\.layers\.1\.mlp\.down_proj' is read past its layer \(1 such")


def test_a_layer_asked_for_more_than_a_wrap_has_is_named():
    def forward(mlp, x):
        return mlp.down_proj(F.silu(mlp.gate_proj(x)) * mlp.up_proj(x))[..., : mlp.down_proj.out_features]

    refused(
        patched(llama(), forward),
        "LlamaForCausalLM does not run with its layers wrapped .*out_features.*Leave out",
    )


def test_reading_only_the_type_of_a_weight_is_allowed():
    def forward(mlp, x):
        hidden = F.silu(mlp.gate_proj(x)) * mlp.up_proj(x)
        return mlp.down_proj(hidden.to(mlp.down_proj.weight.dtype))

    model = patched(llama(), forward)
    check_wrap(model, find_sites(model))


def test_a_site_that_is_never_run_is_named():
    def forward(mlp, x):
        return mlp.down_proj(F.silu(mlp.gate_proj(x)))

    refused(patched(llama(), forward), r"never runs 'model\.layers\.1\.mlp\.up_proj' \(1 such")


def test_a_site_that_runs_twice_is_named():
    def forward(mlp, x):
        return mlp.down_proj(F.silu(mlp.gate_proj(x)) * mlp.up_proj(x) * mlp.gate_proj(-x))

    refused(patched(llama(), forward), r"gate_proj' runs 2 times in one forward")


def test_a_site_on_part_of_the_positions_is_named():
    def forward(mlp, x):
        flat = x.reshape(-1, x.shape[-1])
        some = mlp.down_proj(F.silu(mlp.gate_proj(flat[:3])) * mlp.up_proj(flat[:3]))
        return torch.cat((some, flat[3:])).view_as(x)

    refused(patched(llama(), forward), r"runs on \[3\] positions where the text has \[2, 5\] \(3 such")


def test_other_arguments_are_named():
    def forward(mlp, x):
        return mlp.down_proj(F.silu(mlp.gate_proj(input=x)) * mlp.up_proj(x))

    refused(patched(llama(), forward), r"gate_proj' is called with \(input\), not one tensor")


def test_only_the_chosen_sites_are_asked_about():
    def forward(mlp, x):
        return F.linear(F.silu(mlp.gate_proj(x)) * mlp.up_proj(x), mlp.down_proj.weight)

    model = patched(llama(), forward)
    check_wrap(model, find_sites(model, ["*.self_attn.*", "*.up_proj"]))


def test_a_forward_without_logits_is_refused():
    refused(llama().model, "LlamaModel gives no logits per position. Load a causal language model")


def test_a_model_on_the_meta_device_is_refused():
    model = llama().to("meta")
    with pytest.raises(RankOneError, match="has no values"):
        check_wrap(model, find_sites(model))


def test_a_random_model_is_refused():
    model = llama()
    model.model.norm = nn.Sequential(model.model.norm, nn.Dropout(0.5).train())
    refused(model, "it is random. Is it in eval mode")
