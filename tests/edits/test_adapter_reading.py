"""Whatever plain LoRA PEFT saves is read as the change that PEFT makes; what is more than that is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tests.helpers import VOCAB, gpt2, llama

from rankone.core.errors import RankOneError
from rankone.edits.adapter_reading import base_of, is_adapter, read_adapter
from rankone.edits.lowrank import LowRankEdit

LLAMA = {
    "plain": {"r": 2, "lora_alpha": 5, "target_modules": ["q_proj", "down_proj"]},
    "a regular expression": {"r": 2, "lora_alpha": 3, "target_modules": r".*\.0\..*_proj"},
    "some layers": {
        "r": 2,
        "target_modules": ["q_proj"],
        "layers_to_transform": [1],
        "layers_pattern": "layers",
    },
    "orthogonal": {"r": 2, "target_modules": ["q_proj"], "init_lora_weights": "orthogonal"},
    "mica": {"r": 2, "target_modules": ["q_proj"], "init_lora_weights": "mica"},
    "rank-stabilised": {"r": 4, "lora_alpha": 3, "use_rslora": True, "target_modules": ["v_proj"]},
    "patterns": {
        "r": 2,
        "lora_alpha": 3,
        "target_modules": ["q_proj", "k_proj", "gate_proj"],
        "rank_pattern": {"k_proj": 3, r"layers\.1\..*gate_proj": 1},
        "alpha_pattern": {"q_proj": 7, r"^model.layers.0.mlp.gate_proj": 2},
    },
    "patterns, rank-stabilised": {
        "r": 2,
        "lora_alpha": 3,
        "use_rslora": True,
        "target_modules": "all-linear",
        "rank_pattern": {"o_proj": 4},
        "alpha_pattern": {"o_proj": 1},
    },
}
IDS = torch.arange(24).reshape(2, 12) * 7 % VOCAB


def trained(model, **config):
    """A LoRA whose B is not zero, as training leaves it."""
    made = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **config))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return made.eval()


def agree(folder, fresh, by_peft):
    edit = LowRankEdit(read_adapter(folder))
    model = fresh()
    with torch.no_grad(), edit.applied(model):
        assert (model(IDS).logits - by_peft(IDS).logits).abs().max() < 1e-4


@pytest.mark.parametrize("config", LLAMA.values(), ids=LLAMA)
def test_scales_and_patterns_are_those_of_peft(tmp_path, config):
    trained(llama(), **config).save_pretrained(tmp_path)
    agree(tmp_path, llama, PeftModel.from_pretrained(llama(), str(tmp_path)).eval())


def test_conv1d_and_fused_maps_are_read(tmp_path):
    made = trained(gpt2(), r=2, lora_alpha=4, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)
    made.save_pretrained(tmp_path)
    assert read_adapter(tmp_path)["transformer.h.0.attn.c_attn"].write.shape == (72, 2)
    agree(tmp_path, gpt2, made)


def test_what_is_said_of_a_folder(tmp_path):
    assert not is_adapter(tmp_path)
    trained(llama(), r=1, target_modules=["q_proj"]).save_pretrained(tmp_path)
    assert is_adapter(tmp_path)
    assert base_of(tmp_path) in (None, "")


@pytest.mark.parametrize(
    "change",
    [
        {"target_modules": ["q_proj"]},
        {"target_modules": r".*q_proj"},
        {"exclude_modules": ["down_proj"]},
        {"layers_to_transform": [0]},
        {"layers_to_transform": [0, 1], "layers_pattern": "blocks"},
        {"layers_to_transform": [0, 1], "layers_pattern": ["blocks", "h"]},
        {"layers_to_transform": [0, 1], "target_modules": ".*_proj"},
    ],
)
def test_factors_that_peft_leaves_out_are_refused(tmp_path, change):
    trained(llama(), r=1, target_modules=["q_proj", "down_proj"]).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf8")), **change}), "utf8")
    with pytest.raises(RankOneError, match="does not name: PEFT leaves them out"):
        read_adapter(tmp_path)


def test_factors_of_eight_bits_are_read_as_peft_does(tmp_path):
    trained(llama(), r=2, target_modules=["q_proj"]).save_pretrained(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    save_file({k: t.to(torch.float8_e4m3fn) for k, t in load_file(path).items()}, path)
    agree(tmp_path, llama, PeftModel.from_pretrained(llama(), str(tmp_path)).eval())


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"bias": "lora_only"}, "bias=lora_only"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, "pissa, which changed the base"),
        ({"lora_bias": True}, "lora_bias"),
        ({"target_modules": ["embed_tokens"]}, "not a factor of a linear map"),
    ],
)
def test_more_than_a_low_rank_change_is_refused(tmp_path, config, named):
    trained(llama(), **{"r": 1, "target_modules": ["q_proj"], **config}).save_pretrained(tmp_path)
    with pytest.raises(RankOneError, match=named):
        read_adapter(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"peft_type": "IA3"}, "not a plain LoRA adapter but IA3"),
        ({"r": 3}, "gives rank 3 for"),
        ({"lora_alpha": "many"}, "is damaged"),
        ({"rank_pattern": {"(": 1}}, "not a regular expression"),
        (
            {"layers_to_transform": [0], "layers_pattern": "("},
            "layers_pattern .* is not a regular expression",
        ),
        ({"target_modules": None}, "names no target_modules: PEFT would choose modules by the model's type"),
        ({"kasa_config": {"beta": 0.1}}, r"not a plain LoRA adapter \(kasa_config\)"),
        ({"monteclora_config": {"num_samples": 3}}, "monteclora_config"),
        ({"use_qalora": True}, "use_qalora"),
        ({"init_lora_weights": "kasa"}, "init_lora_weights=kasa, which is not known"),
        ({"r": 1.0}, "is damaged"),
        ({"lora_alpha": "8"}, "is damaged"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path, change, named):
    trained(llama(), r=1, target_modules=["q_proj"]).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf8")), **change}), "utf8")
    with pytest.raises(RankOneError, match=named):
        read_adapter(tmp_path)


def test_a_setting_that_peft_has_and_nobody_here_knows_is_refused_where_it_is_used(tmp_path, monkeypatch):
    """One that PEFT does not have either it leaves out, and so it changes nothing."""
    trained(llama(), r=1, target_modules=["q_proj"]).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text("utf8"))
    path.write_text(json.dumps({**config, "of_another_tool": True}), "utf8")
    read_adapter(tmp_path)
    new = dataclasses.make_dataclass("Config", [("of_another_tool", bool)])
    monkeypatch.setattr("peft.LoraConfig", new)
    with pytest.raises(RankOneError, match=r"not a plain LoRA adapter \(of_another_tool\)"):
        read_adapter(tmp_path)
