"""The direct effect equals a real intervention where the model is linear from the site to the logits; elsewhere none."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import gpt2, llama, simple_mlp, tokenizer, workspace
from torch import nn

from rankone.edits.scales import scale_edit
from rankone.experiments.investigation.direct import direct_effect, direct_logits, stream_path
from rankone.models.modules import replace_module

SITES = [
    (simple_mlp, "h.1.attn.v_proj:2"),
    (simple_mlp, "h.0.attn.o_proj:1"),
    (llama, "model.layers.1.self_attn.v_proj:3"),  # two query heads read each value
    (llama, "model.layers.0.self_attn.o_proj:0"),
]


def linear(model):
    """The model without norms and MLPs, whose attention on a row of one token is a product of matrices."""
    for name, module in list(model.named_modules()):
        if "Norm" in type(module).__name__:
            replace_module(model, name, nn.Identity())
        if name.endswith("down_proj"):
            nn.init.zeros_(module.weight)
    return model


@pytest.mark.parametrize(("build", "name"), SITES)
def test_direct_effect_is_that_of_the_intervention(build, name):
    model = linear(build())
    decomposition = decomposed(model, "random")
    site, _ = decomposition.locate(name)
    read, write = decomposition.vectors(name)
    seen = []
    hook = model.get_submodule(site).register_forward_pre_hook(lambda module, x: seen.append(x[0]))
    ids, alpha = torch.tensor([[7]]), -3.0
    with torch.no_grad():
        before = model(input_ids=ids).logits[0, 0]
        with scale_edit(decomposition, {name: alpha}).applied(model):
            moved = model(input_ids=ids).logits[0, 0] - before
    hook.remove()
    path = stream_path(model, site, write)
    # Later blocks of the linear model add to the effect; take them out to see the direct one.
    expected = (alpha - 1) * float(seen[0][0, 0] @ read) * direct_logits(model, path.vector)
    if ".1." in name:
        assert torch.allclose(moved - moved.mean(), expected, rtol=1e-3, atol=1e-3)
        assert expected.abs().max() > 0.1
    else:
        assert not torch.allclose(moved - moved.mean(), expected, rtol=1e-3, atol=1e-3)


def test_the_gain_of_the_final_norm_counts():
    model = simple_mlp()
    vector = torch.randn(24)
    plain = direct_logits(model, vector)
    with torch.no_grad():
        model.ln_f.weight.mul_(torch.linspace(0, 2, 24))
    expected = model.lm_head.weight @ (vector * torch.linspace(0, 2, 24))
    assert torch.allclose(direct_logits(model, vector), expected - expected.mean(), atol=1e-4)
    assert not torch.allclose(direct_logits(model, vector), plain, atol=1e-2)


@pytest.mark.parametrize(
    ("build", "site", "said"),
    [
        (simple_mlp, "h.0.attn.q_proj", "scores"),
        (llama, "model.layers.0.self_attn.k_proj", "scores"),
        (simple_mlp, "h.0.mlp.c_fc", "non-linearity"),
        (llama, "model.layers.0.mlp.gate_proj", "non-linearity"),
        (gpt2, "transformer.h.0.attn.c_attn", "does not know"),
    ],
)
def test_no_direct_path(build, site, said):
    model = build()
    decomposition = decomposed(model, "random")
    path = stream_path(model, site, decomposition.factors(site)[1][0].detach())
    assert path.vector is None
    assert path.way.startswith("none: ")
    assert said in path.way
    assert direct_effect(workspace(model, decomposition, tokenizer()), {f"{site}:0": 1.0}).raises == []


def test_the_sign_turns_the_effect_round():
    model, words = simple_mlp(), tokenizer()
    decomposition = decomposed(model, "random")
    plus, minus = (
        direct_effect(workspace(model, decomposition, words), {"h.1.mlp.down_proj:0": s}, 3)
        for s in (2.0, -0.1)
    )
    assert [t for t, _ in plus.raises] == [t for t, _ in minus.lowers]
    assert [t for t, _ in plus.lowers] == [t for t, _ in minus.raises]
    assert all(value > 0 for _, value in plus.raises + minus.raises)
    assert all(value < 0 for _, value in plus.lowers + minus.lowers)


def test_members_write_together():
    """Two members with activations 3 and −1 write what one vector 3 u₀ / ‖u₀‖ − u₁ / ‖u₁‖ would; a third writes nowhere."""
    model, words = simple_mlp(), tokenizer()
    decomposition = decomposed(model, "random")
    names = ["h.1.mlp.down_proj:0", "h.0.mlp.down_proj:4"]
    units = [w / w.norm() for w in (decomposition.vectors(n)[1] for n in names)]
    expected = direct_logits(model, 3 * units[0] - units[1])[: len(words)]
    active = dict(zip([*names, "h.0.mlp.c_fc:0"], (3.0, -1.0, 9.0), strict=True))
    found = direct_effect(workspace(model, decomposition, words), active, 1)
    assert found.raises[0][1] == pytest.approx(float(expected.max() / expected.std()), rel=1e-3)
    assert "straight into the residual stream (2)" in found.way
    assert "non-linearity" in found.way
