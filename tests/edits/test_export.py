"""Exports: parity with transformers and PEFT after reload, and sabotage that verification must catch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tests.helpers import gpt2, llama, probe, random_edit, same, simple_mlp, snapshot, tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    MambaConfig,
    MambaForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.edits import consumer, consumption, export
from rankone.edits.adapter_files import read_adapter, write_adapter
from rankone.edits.export import Limits, export_adapter, export_checkpoint, name_of
from rankone.edits.lowrank import Factors, LowRankEdit, Merged
from rankone.edits.verification import Verification, realised_share
from rankone.models.loading import load_model


def edited_logits(model, edit, ids) -> torch.Tensor:
    with torch.no_grad(), edit.applied(model):
        return model(ids).logits


@pytest.fixture
def here(monkeypatch):
    """Verify in this process: a fresh one costs seconds, and three tests below start one."""

    def run(instructions, _scratch):
        try:
            consumer.main(instructions)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        finally:
            sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, consumer._Blocked)]
        return None

    monkeypatch.setattr(consumption, "run_consumer", run)


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def mixed_ranks(model) -> LowRankEdit:
    patterns = {"*.0.*c_fc": 3, "*.1.*c_proj": 1} if "gpt2" in model.config.model_type else {"*.0.mlp.*": 3}
    others = {} if "gpt2" in model.config.model_type else {"*.1.*q_proj": 1}
    return random_edit(model, {**patterns, **others}).bind(model)


def test_fp32_checkpoint_verified_in_a_fresh_process(tmp_path):
    check_fp32_checkpoint(tmp_path, simple_mlp())


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("build", [gpt2, llama])
def test_fp32_checkpoint_of_other_architectures(tmp_path, build):
    check_fp32_checkpoint(tmp_path, build())


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


def test_the_built_in_architecture_as_a_stock_checkpoint(tmp_path):
    model = simple_mlp()
    edit = mixed_ranks(model)
    result = export_checkpoint(model, tokenizer(), edit, tmp_path / "out", probe=probe(), stock=True)
    assert (result.passed, result.remote_code) == (True, False)
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
    assert open_artifact(tmp_path / "out", "adapter").json("verification.json")["engine"] == "peft"
    wrapped = PeftModel.from_pretrained(build(), str(tmp_path / "out")).eval()
    layers = {n: m for n, m in wrapped.named_modules() if hasattr(m, "lora_A")}
    assert {n.removeprefix("base_model.model.") for n in layers} == set(edit.sites)
    for name, layer in layers.items():
        assert layer.scaling["default"] == 1.0
        assert layer.r["default"] == edit.rank(name.removeprefix("base_model.model."))
    assert torch.allclose(wrapped(probe(seed=5)).logits, expected, atol=1e-4)
    assert torch.allclose(wrapped.merge_and_unload()(probe(seed=5)).logits, expected, atol=1e-4)


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
        LOADED_BY_PLAIN_PEFT,
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


@pytest.mark.usefixtures("here")
def test_a_merge_that_loses_the_edit_is_caught(tmp_path, monkeypatch):
    model = simple_mlp()
    edit = random_edit(model, {"h.0.mlp.*": 2})
    real = LowRankEdit.merge
    monkeypatch.setattr(LowRankEdit, "merge", lambda self, m, dtype: Merged(m, real(self, m, dtype).report))
    with pytest.raises(RankOneError, match=r"does not reproduce the edited model: max \|Δlogit\|"):
        export_checkpoint(model, tokenizer(), edit, tmp_path / "out", probe=probe())
    assert nothing_left(tmp_path)


@pytest.mark.usefixtures("here")
def test_a_small_loss_is_caught_in_bf16_too(tmp_path, monkeypatch):
    """One of the two edited sites is skipped; the KL bound alone would let that pass."""
    model = simple_mlp()
    edit = random_edit(model, {"h.0.mlp.*": 1}, size=0.003)
    real = LowRankEdit.merge
    part = LowRankEdit({"h.0.mlp.c_fc": edit.factors["h.0.mlp.c_fc"]})
    monkeypatch.setattr(LowRankEdit, "merge", lambda self, m, dtype: real(part, m, dtype))
    with pytest.raises(RankOneError, match="does not reproduce") as caught:
        export_checkpoint(model, tokenizer(), edit, tmp_path / "out", torch.bfloat16, probe())
    assert "KL 0.00" in str(caught.value) or "e-" in str(caught.value)
    assert nothing_left(tmp_path)


def sabotaged(monkeypatch, damage):
    """Run `damage(staging)` after the files are written and before they are verified."""
    real = consumption.consume

    def consume_damaged(kind, staging, *rest):
        damage(staging)
        return real(kind, staging, *rest)

    monkeypatch.setattr(export, "consume", consume_damaged)


def scale_one(path: Path, key: str) -> None:
    tensors = load_file(path)
    tensors[key] = tensors[key] * 1.01
    save_file(tensors, path, {"format": "pt"})


def drop_one(path: Path, key: str) -> None:
    tensors = load_file(path)
    tensors.pop(key)
    save_file(tensors, path, {"format": "pt"})


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def test_a_truncated_checkpoint_is_caught_by_the_fresh_process(tmp_path, monkeypatch):
    model = simple_mlp()
    sabotaged(monkeypatch, lambda s: truncate(s / "model.safetensors"))
    with pytest.raises(
        RankOneError, match=r"does not load again.*incomplete|does not load again.*header|does not load again"
    ):
        export_checkpoint(model, tokenizer(), mixed_ranks(model), tmp_path / "out", probe=probe())
    assert nothing_left(tmp_path)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("damage", "message"),
    [(scale_one, "does not reproduce"), (drop_one, "does not load again.*missing keys")],
)
def test_a_damaged_checkpoint_is_caught(tmp_path, monkeypatch, damage, message):
    model = simple_mlp()
    sabotaged(monkeypatch, lambda s: damage(s / "model.safetensors", "h.1.mlp.down_proj.weight"))
    with pytest.raises(RankOneError, match=message):
        export_checkpoint(model, tokenizer(), mixed_ranks(model), tmp_path / "out", probe=probe())
    assert nothing_left(tmp_path)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("damage", [scale_one, drop_one])
def test_a_damaged_adapter_is_caught(tmp_path, monkeypatch, damage):
    model = simple_mlp()
    key = "base_model.model.h.1.attn.q_proj.lora_B.weight"
    sabotaged(monkeypatch, lambda s: damage(s / "adapter_model.safetensors", key))
    with pytest.raises(RankOneError, match="does not"):
        export_adapter(model, mixed_ranks(model), tmp_path / "out", "someone/base", probe())
    assert nothing_left(tmp_path)


def test_what_cannot_be_exported_is_refused_before_anything_is_written(tmp_path):
    model, out = simple_mlp(), tmp_path / "out"
    head = LowRankEdit({"lm_head": Factors(torch.ones(300, 1), torch.ones(1, 24))})
    for call in (
        lambda: export_adapter(model, head, out, "someone/base", probe()),
        lambda: export_checkpoint(model, tokenizer(), head, out, probe=probe()),
    ):
        with pytest.raises(RankOneError, match="'lm_head' is no site: its weight is tied to the embedding"):
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


def test_default_probe():
    ids = export._default_probe(simple_mlp())
    assert ids.shape == (4, 32)
    assert torch.equal(ids, export._default_probe(simple_mlp()))
    assert not (ids >= 300).any()


def result(**changed) -> Verification:
    values = {
        "file_difference": 0.0,
        "difference": 0.0,
        "kl": 0.0,
        "kl_max": 0.0,
        "edit_kl": 1.0,
        "realised": 1.0,
    }
    limits = {"tolerance": 1e-4, "kl_bound": 1e-2, "rounding_share": 0.25}
    about = {"kind": "checkpoint", "dtype": "bfloat16", "engine": "transformers", "tokens": 1}
    return Verification.model_validate({**values, **limits, **about, **changed})


def test_what_passes():
    assert result().passed
    assert result(kl=0.002, edit_kl=0.008).passed
    assert not result(kl=0.00201, edit_kl=0.008).passed
    assert result(kl=0.00201, edit_kl=0.008, dtype="float32").passed
    assert not result(kl=0.0101).passed
    assert not result(file_difference=1.01e-4).passed
    for name in ("file_difference", "kl", "edit_kl"):
        assert not result(**{name: float("nan")}).passed


def test_realised_share_by_hand():
    base, edited = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 2.0]]])
    assert realised_share(base, edited, edited) == 1.0
    assert realised_share(base, edited, base) == 0.0
    assert realised_share(base, edited, torch.tensor([[[1.0, 0.0]]])) == pytest.approx(1 / 5)
    assert realised_share(base, base, edited) == 1.0


def test_no_code_of_the_current_folder_runs(tmp_path, monkeypatch):
    for name in ("tokenizers", "peft", "torch", "transformers", "rankone", "safetensors"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').write('x')\n", "utf8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    model = gpt2()
    result = export_adapter(model, mixed_ranks(model), tmp_path / "out", "someone/base", probe())
    assert result.engine == "peft"
    assert not (tmp_path / "ran").exists()


def test_the_consumer_cannot_import_rankone(tmp_path):
    instructions = tmp_path / "i.json"
    asked = {"kind": "checkpoint", "paths": [str(p) for p in sys.path if p], "blocked": ["rankone"]}
    script = (
        Path(consumer.__file__)
        .read_text("utf8")
        .replace(
            "    from safetensors.torch import load_file, save_file\n", "    import rankone.models.loading\n"
        )
    )
    (tmp_path / "consumer.py").write_text(script, "utf8")
    instructions.write_text(json.dumps(asked), "utf8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consumption, "_SCRIPT", tmp_path / "consumer.py")
        reason = consumption.run_consumer(instructions, tmp_path)
    assert reason == "ModuleNotFoundError: 'rankone' is not to be imported here"


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
    edit = random_edit(model, {"*.dt_proj": 2}, size=1.0).bind(model)
    with pytest.raises(RankOneError, match=r"dt_proj' is read past its module by Mamba.*Export a checkpoint"):
        export_adapter(model, edit, tmp_path / "out", "someone/base", probe())
    assert nothing_left(tmp_path)
    export_checkpoint(model, tokenizer(), edit, tmp_path / "out", probe=probe())
    export_adapter(model, random_edit(model, {"*.x_proj": 2}), tmp_path / "ok", "someone/base", probe())


def mixture_of_experts():
    """Dense first layer, fused experts in the second: a kind whose adapters PEFT rewrites."""
    torch.manual_seed(0)
    config = Qwen3MoeConfig(
        vocab_size=300,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=12,
        intermediate_size=40,
        moe_intermediate_size=16,
        num_experts=4,
        num_experts_per_tok=2,
        mlp_only_layers=[0],
        max_position_embeddings=64,
    )
    return Qwen3MoeForCausalLM(config).eval()


@pytest.mark.usefixtures("here")
def test_an_adapter_is_certified_only_as_far_as_its_consumer_was_asked(tmp_path, monkeypatch):
    model = mixture_of_experts()
    edit = random_edit(model, {"*.0.mlp.down_proj": 1}, size=0.5).bind(model)
    with pytest.raises(RankOneError, match=r"does not .*Export a checkpoint|does not load again"):
        export_adapter(model, edit, tmp_path / "peft", "someone/base", probe())
    assert nothing_left(tmp_path)
    monkeypatch.setattr(consumption, "BLOCKED", ("rankone", "peft"))
    monkeypatch.delitem(sys.modules, "peft")
    result = export_adapter(model, edit, tmp_path / "none", "someone/base", probe())
    assert "not verified by PEFT" in result.warnings[0]


@pytest.mark.usefixtures("here")
def test_an_edit_that_rounding_drowns_is_refused(tmp_path):
    model = llama()
    edit = random_edit(model, {"*.0.mlp.*": 1}, size=1e-5)
    with pytest.raises(
        RankOneError, match=r"rounding to bfloat16 costs too much.*Export in float32"
    ) as caught:
        export_checkpoint(model, tokenizer(), edit, tmp_path / "out", torch.bfloat16, probe())
    assert "% of the edit would be realised" in str(caught.value)
    assert nothing_left(tmp_path)
    result = export_checkpoint(model, tokenizer(), edit, tmp_path / "out", probe=probe())
    assert result.realised == pytest.approx(1.0, abs=1e-2)
