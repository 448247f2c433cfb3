"""LoRA as a fitting method: the change of a PEFT adapter with the same factors, and its start."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.helpers import gpt2, llama, probe, simple_mlp

from rankone.core.errors import RankOneError
from rankone.edits.adapters import adapted
from rankone.edits.methods.lora import Lora

PATTERNS = {
    simple_mlp: ["h.1.mlp.*", "h.0.attn.q_proj"],
    gpt2: ["*.1.mlp.*", "*.0.attn.c_attn"],
    llama: ["*.1.mlp.*", "*.0.self_attn.v_proj"],
}


def filled(lora, runs):
    """Parameters with B away from zero."""
    parameters = lora.start(runs, list(range(runs)))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in parameters.items():
            if name.startswith("B:"):
                value.copy_(0.05 * torch.randn(value.shape, generator=generator))
    return parameters


def peft_logits(model, lora, parameters, run, ids):
    """Logits of a PEFT LoRA model that holds the A and B of one run."""
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.scale * lora.rank,
        target_modules=lora.sites(),
        fan_in_fan_out=model.config.model_type == "gpt2",
        lora_dropout=0.0,
    )
    wrapped = get_peft_model(copy.deepcopy(model), config).eval()
    with torch.no_grad():
        for site in lora.sites():
            layer = wrapped.base_model.model.get_submodule(site)
            layer.lora_A["default"].weight.copy_(parameters[f"A:{site}"][run])
            layer.lora_B["default"].weight.copy_(parameters[f"B:{site}"][run])
        return wrapped(input_ids=ids).logits


@pytest.mark.parametrize("build", list(PATTERNS))
@pytest.mark.parametrize(("rank", "alpha"), [(1, 16.0), (3, 4.0)])
def test_the_same_factors_in_peft_give_the_same_logits(build, rank, alpha):
    model, ids = build(), probe(rows=4)
    lora = Lora(model, PATTERNS[build], rank=rank, alpha=alpha)
    assert len(lora.sites()) >= 3
    parameters = filled(lora, runs=2)
    with adapted(model, lora, parameters, 2), torch.no_grad():
        together = model(ids).logits
    with torch.no_grad():
        plain = model(ids).logits
    for run in range(2):
        rows = slice(2 * run, 2 * run + 2)
        expected = peft_logits(model, lora, parameters, run, ids[rows])
        edit = lora.edit(parameters, run)
        with edit.applied(model), torch.no_grad():
            edited = model(ids[rows]).logits
        assert torch.allclose(together[rows], expected, atol=1e-4)
        assert torch.allclose(edited, expected, atol=1e-4)
        assert (expected - plain[rows]).abs().max() > 0.05
        assert set(edit.sites) == set(lora.sites())
        assert {edit.rank(site) for site in edit.sites} == {rank}


def test_the_start_changes_nothing():
    model, ids = simple_mlp(), probe(rows=4)
    lora = Lora(model, ["*"], rank=2)
    with torch.no_grad():
        plain = model(ids).logits
        with adapted(model, lora, lora.start(2, [3, 4]), 2):
            assert torch.equal(model(ids).logits, plain)


def test_the_start_depends_on_the_seed_alone():
    lora = Lora(simple_mlp(), ["*"], rank=2)
    many = lora.start(3, [8, 2, 8])
    torch.manual_seed(99)
    for run, seed in enumerate([8, 2, 8]):
        alone = lora.start(1, [seed])
        for name, value in alone.items():
            assert torch.equal(many[name][run], value[0]), name
    for site in lora.sites():
        assert not torch.equal(many[f"A:{site}"][0], many[f"A:{site}"][1])
        assert not many[f"B:{site}"].any()
    assert not torch.equal(many["A:h.0.attn.q_proj"], many["A:h.0.attn.k_proj"])


def test_the_start_has_pefts_distribution():
    """Uniform within ± 1/√d_in: compared with PEFT's own start by bound, and by quantiles."""
    model = simple_mlp(hidden_size=96, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    site = "h.0.attn.q_proj"
    lora = Lora(model, [site], rank=32)
    own = lora.start(1, [0])[f"A:{site}"].detach().flatten()
    wrapped = get_peft_model(model, LoraConfig(r=32, target_modules=[site]))
    theirs = wrapped.base_model.model.get_submodule(site).lora_A["default"].weight.detach().flatten()
    bound = 96**-0.5
    assert 0.98 * bound < own.abs().max() <= bound
    assert 0.98 * bound < theirs.abs().max() <= bound
    at = torch.linspace(0.05, 0.95, 7)
    assert torch.allclose(own.quantile(at), theirs.quantile(at), atol=0.07 * bound)


def test_parameters_have_a_row_per_run():
    lora = Lora(simple_mlp(), ["h.0.mlp.c_fc"], rank=2)
    assert {k: tuple(v.shape) for k, v in lora.start(5, list(range(5))).items()} == {
        "A:h.0.mlp.c_fc": (5, 2, 24),
        "B:h.0.mlp.c_fc": (5, 40, 2),
    }


def test_a_pattern_without_site_is_refused():
    with pytest.raises(RankOneError, match=r"no site matches 'h\.7\.\*'"):
        Lora(simple_mlp(), ["h.7.*"])
