"""What verification says by hand, and sabotage that it must catch."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.edits.exporting import mixed_ranks, nothing_left
from tests.helpers import llama, probe, random_edit, simple_mlp, tokenizer
from transformers import (
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from rankone.core.errors import RankOneError
from rankone.edits import consumption, export
from rankone.edits.export import Limits, export_adapter, export_checkpoint
from rankone.edits.lowrank import LowRankEdit, Merged
from rankone.edits.verification import Verification, realised_share


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


def test_the_tolerance_grows_with_large_logits_alone():
    for largest, tolerance in ((0.1, 1e-4), (10.0, 1e-4), (-25.0, 2.5e-4)):
        limits = Limits().at(torch.tensor([[[0.0, largest]]]))
        assert limits.tolerance == pytest.approx(tolerance)
        assert limits[1:] == Limits()[1:]


def test_realised_share_by_hand():
    base, edited = torch.zeros(1, 1, 2), torch.tensor([[[1.0, 2.0]]])
    assert realised_share(base, edited, edited) == 1.0
    assert realised_share(base, edited, base) == 0.0
    assert realised_share(base, edited, torch.tensor([[[1.0, 0.0]]])) == pytest.approx(1 / 5)
    assert realised_share(base, base, edited) == 1.0


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
    # Of a change below the rounding a share of it (1,323%) says nothing.
    assert "the edit is smaller than the rounding" in str(caught.value)
    assert nothing_left(tmp_path)
    result = export_checkpoint(model, tokenizer(), edit, tmp_path / "out", probe=probe())
    assert result.realised == pytest.approx(1.0, abs=1e-2)
