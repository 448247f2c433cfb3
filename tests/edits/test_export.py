"""Exports: parity with transformers and PEFT after reload."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tests.edits.exporting import edited_logits, mixed_ranks, nothing_left
from tests.fresh import UNSEARCHED
from tests.helpers import gpt2, llama, probe, random_edit, same, simple_mlp, snapshot, tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    MambaConfig,
    MambaForCausalLM,
)

from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.edits import consumption
from rankone.edits.adapter_files import write_adapter
from rankone.edits.adapter_reading import read_adapter
from rankone.edits.export import Limits, export_adapter, export_checkpoint, name_of
from rankone.edits.lowrank import Factors, LowRankEdit
from rankone.models.loading import load_model

LOADED_BY_PLAIN_PEFT = """
import sys, torch
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file, save_file
folder, ids, out = sys.argv[1:]
with torch.no_grad():
    logits = AutoPeftModelForCausalLM.from_pretrained(folder)(load_file(ids)["ids"]).logits
assert not any(name.startswith("rankone") for name in sys.modules)
save_file({"logits": logits.contiguous()}, out)
"""


def test_fp32_checkpoint_verified_in_a_fresh_process(tmp_path):
    result = check_fp32_checkpoint(tmp_path, simple_mlp())
    assert result.warnings == (
        "loads with trust_remote_code=True, by the code file that lies in the export.",
    )


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("build", [gpt2, llama])
def test_fp32_checkpoint_of_other_architectures(tmp_path, build):
    assert check_fp32_checkpoint(tmp_path, build()).warnings == ()


def check_fp32_checkpoint(tmp_path, model):
    words = tokenizer()
    edit, before = mixed_ranks(model), snapshot(model)
    result = export_checkpoint(model, words, edit, tmp_path / "out", probe=probe())
    assert same(model, before)
    assert result.file_difference <= 1e-4
    assert result.difference <= 1e-4
    assert result.edit_kl > 100 * result.kl
    assert (result.engine, result.tokens, result.dtype) == ("transformers", 24, "float32")
    expected = edited_logits(model, edit, probe(seed=5))
    for again in (AutoModelForCausalLM.from_pretrained(tmp_path / "out"), load_model(tmp_path / "out")):
        assert torch.allclose(again(probe(seed=5)).logits, expected, atol=1e-4)
    assert (
        AutoTokenizer.from_pretrained(tmp_path / "out")("the cat")["input_ids"]
        == words("the cat")["input_ids"]
    )
    artifact = open_artifact(tmp_path / "out", "model")
    stored = artifact.json("verification.json")
    assert stored["file_difference"] == result.file_difference
    assert [line["name"] for line in stored["merge"]["sites"]] == list(edit.sites)
    assert artifact.provenance["edit"]["method"] == "test"
    return result


@pytest.mark.usefixtures("here")  # test_card.py loads one in a fresh process
def test_the_built_in_architecture_as_a_stock_checkpoint(tmp_path):
    model = simple_mlp()
    edit = mixed_ranks(model)
    result = export_checkpoint(model, tokenizer(), edit, tmp_path / "out", probe=probe(), stock=True)
    assert (result.passed, result.remote_code, result.warnings) == (True, False, ())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.config.model_type == "arcee"
    assert torch.allclose(again(probe(seed=5)).logits, edited_logits(model, edit, probe(seed=5)), atol=1e-4)


@pytest.mark.usefixtures("here")
def test_bf16_checkpoint_reports_what_rounding_costs(tmp_path):
    model = simple_mlp()
    edit = random_edit(model, {"h.0.mlp.*": 2})
    result = export_checkpoint(model, tokenizer(), edit, tmp_path / "out", torch.bfloat16, probe())
    assert result.dtype == "bfloat16"
    assert result.file_difference <= 1e-4 < result.difference
    assert 0 < result.kl < result.kl_bound < result.edit_kl
    assert result.kl <= result.kl_max
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {t.dtype for t in tensors.values()} == {torch.bfloat16}
    again = load_model(tmp_path / "out")
    expected = edited_logits(model, edit, probe())
    assert float((again(probe()).logits - expected).abs().max()) == pytest.approx(result.difference, abs=1e-5)
    with pytest.raises(RankOneError, match=r"rounding to bfloat16 costs too much: KL .* \(bound 1e-12\)"):
        export_checkpoint(
            model,
            tokenizer(),
            edit,
            tmp_path / "no" / "out",
            torch.bfloat16,
            probe(),
            limits=Limits(kl_bound=1e-12),
        )
    assert nothing_left(tmp_path / "no")


def test_adapter_verified_by_peft_in_a_fresh_process(tmp_path):
    check_adapter(tmp_path, simple_mlp)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("build", [gpt2, llama])
def test_adapter_of_other_architectures(tmp_path, build):
    check_adapter(tmp_path, build)


def check_adapter(tmp_path, build):
    model = build()
    edit, before = mixed_ranks(model), snapshot(model)
    result = export_adapter(model, edit, tmp_path / "out", "someone/base", probe())
    assert same(model, before)
    assert (result.engine, result.base) == ("peft", "copy of the model in memory")
    assert result.difference <= 1e-4
    expected = edited_logits(model, edit, probe(seed=5))
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["target_modules"] == list(edit.sites)
    assert config["fan_in_fan_out"] is (build is gpt2)
    assert config["base_model_name_or_path"] == "someone/base"
    assert config["lora_dropout"] == 0.0  # whoever trains on begins with the edit itself
    assert open_artifact(tmp_path / "out", "adapter").json("verification.json")["engine"] == "peft"
    wrapped = PeftModel.from_pretrained(build(), str(tmp_path / "out")).eval()
    layers = {n: m for n, m in wrapped.named_modules() if hasattr(m, "lora_A")}
    assert {n.removeprefix("base_model.model.") for n in layers} == set(edit.sites)
    for name, layer in layers.items():
        assert layer.scaling["default"] == 1.0
        assert layer.r["default"] == edit.rank(name.removeprefix("base_model.model."))
    assert torch.allclose(wrapped(probe(seed=5)).logits, expected, atol=1e-4)
    assert torch.allclose(wrapped.merge_and_unload()(probe(seed=5)).logits, expected, atol=1e-4)


@pytest.mark.usefixtures("here")
def test_an_edit_becomes_an_adapter_that_a_process_without_us_loads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    llama().save_pretrained(tmp_path / "base")
    model = load_model(tmp_path / "base")
    edit = mixed_ranks(model).scale(0.5)
    result = edit.to_peft("out")
    assert (result.engine, result.base) == ("peft", str(tmp_path / "base"))
    save_file({"ids": probe(seed=5)}, tmp_path / "ids")
    command = [
        sys.executable,
        "-c",
        UNSEARCHED + LOADED_BY_PLAIN_PEFT,
        *(str(tmp_path / n) for n in ("out", "ids", "logits")),
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    found = load_file(tmp_path / "logits")["logits"]
    assert torch.allclose(found, edited_logits(model, edit, probe(seed=5)), atol=1e-4)


@pytest.mark.usefixtures("here")
def test_an_edit_needs_a_model_in_memory_and_a_name_of_it_to_become_an_adapter(tmp_path):
    model = llama()
    with pytest.raises(RankOneError, match="bound to no model in memory"):
        random_edit(model, {"*.0.mlp.*": 1}).to_peft(tmp_path / "out")
    bound = mixed_ranks(model)
    with pytest.raises(RankOneError, match="base_name"):
        bound.to_peft(tmp_path / "out")
    assert nothing_left(tmp_path)
    assert bound.compose(bound).to_peft(tmp_path / "out", "someone/base").engine == "peft"
    del model
    assert bound.model is None


def test_a_built_in_model_is_named_as_users_name_it():
    assert name_of(load_model("mini")) == "mini"


def test_our_reader_returns_the_factors_that_were_written(tmp_path):
    model = gpt2()
    edit = mixed_ranks(model)
    write_adapter(model, edit.factors, tmp_path, "someone/base")
    again = read_adapter(tmp_path)
    assert tuple(again) == edit.sites
    for name in edit.sites:
        assert torch.equal(again[name].write, edit.factors[name].write)
        assert torch.equal(again[name].read, edit.factors[name].read)


def test_our_reader_equals_peft_where_the_scale_is_not_one(tmp_path):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=4,
        lora_alpha=10,
        target_modules=["h.0.mlp.c_fc", "h.1.attn.q_proj"],
        rank_pattern={"h.1.attn.q_proj": 2},
        alpha_pattern={"h.1.attn.q_proj": 7},
        init_lora_weights=False,
    )
    wrapped = get_peft_model(simple_mlp(), config).eval()
    wrapped.save_pretrained(tmp_path / "a")
    with torch.no_grad():
        expected = wrapped(probe()).logits
    edit = LowRankEdit(read_adapter(tmp_path / "a"))
    assert torch.allclose(edited_logits(simple_mlp(), edit, probe()), expected, atol=1e-4)


@pytest.mark.usefixtures("here")
def test_verification_without_peft_says_so(tmp_path, monkeypatch):
    model = simple_mlp()
    edit = mixed_ranks(model)
    base = tmp_path / "base"
    model.save_pretrained(base)
    monkeypatch.setattr(consumption, "BLOCKED", ("rankone", "peft"))
    monkeypatch.delitem(sys.modules, "peft")
    result = export_adapter(model, edit, tmp_path / "out", str(base), probe())
    assert (result.engine, result.base) == ("rankone", str(base))
    assert "not verified by PEFT" in result.warnings[0]
    assert "**Not verified by PEFT" in (tmp_path / "out/README.md").read_text("utf8")
    assert open_artifact(tmp_path / "out", "adapter").json("verification.json")["engine"] == "rankone"


@pytest.mark.usefixtures("here")
def test_an_adapter_for_another_local_base_is_refused(tmp_path):
    model = simple_mlp()
    simple_mlp(seed=1).save_pretrained(tmp_path / "base")
    with pytest.raises(RankOneError, match="does not reproduce the edited model"):
        export_adapter(model, mixed_ranks(model), tmp_path / "no" / "out", str(tmp_path / "base"), probe())
    assert nothing_left(tmp_path / "no")


def test_what_cannot_be_exported_is_refused_before_anything_is_written(tmp_path):
    model, out = simple_mlp(), tmp_path / "out"
    head = LowRankEdit({"lm_head": Factors(torch.ones(300, 1), torch.ones(1, 24))})
    for call in (
        lambda: export_adapter(model, head, out, "someone/base", probe()),
        lambda: export_checkpoint(model, tokenizer(), head, out, probe=probe()),
    ):
        with pytest.raises(
            RankOneError, match="'lm_head' is not a site: its weight is tied to the embedding"
        ):
            call()
    empty = LowRankEdit({"h.0.mlp.c_fc": Factors(torch.ones(40, 0), torch.ones(0, 24))})
    with pytest.raises(RankOneError, match="rank 0 everywhere"):
        export_adapter(model, empty, out, "someone/base", probe())
    with pytest.raises(RankOneError, match=r"no model directory at './missing'"):
        export_adapter(model, mixed_ranks(model), out, "./missing", probe())
    with pytest.raises(RankOneError, match="made for another model"):
        export_checkpoint(simple_mlp(seed=1), tokenizer(), mixed_ranks(model), out, probe=probe())
    with pytest.raises(RankOneError, match=r"cannot export in torch\.int8"):
        export_checkpoint(model, tokenizer(), mixed_ranks(model), out, torch.int8)
    edit = mixed_ranks(model)
    with edit.applied(model), pytest.raises(RankOneError, match="is applied to this model"):
        export_checkpoint(model, tokenizer(), edit, out)
    assert nothing_left(tmp_path)
    out.mkdir()
    with pytest.raises(RankOneError, match="already exists"):
        export_checkpoint(model, tokenizer(), edit, out)
    assert nothing_left(out)


def mamba():
    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=300,
        hidden_size=24,
        state_size=4,
        num_hidden_layers=2,
        intermediate_size=48,
        time_step_rank=6,
    )
    return MambaForCausalLM(config).eval()


@pytest.mark.usefixtures("here")
def test_weights_that_are_read_past_their_module_are_no_adapter(tmp_path):
    model = mamba()
    called = []
    with model.backbone.layers[0].mixer.dt_proj.register_forward_hook(lambda *_: called.append(1)):
        model(probe())
    if called:
        pytest.skip("this transformers calls the module: an adapter works there")
    edit = random_edit(model, {"*.dt_proj": 2}, size=1.0).bind(model)
    with pytest.raises(RankOneError, match=r"dt_proj' is read past its module by Mamba.*Export a checkpoint"):
        export_adapter(model, edit, tmp_path / "out", "someone/base", probe())
    assert nothing_left(tmp_path)
    export_checkpoint(model, tokenizer(), edit, tmp_path / "out", probe=probe())
    export_adapter(model, random_edit(model, {"*.x_proj": 2}), tmp_path / "ok", "someone/base", probe())
