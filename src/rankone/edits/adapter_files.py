"""The two files of a LoRA adapter in PEFT's format, written from an edit's factors (read: adapter_reading.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from rankone.core.artifact import write_json
from rankone.core.errors import RankOneError
from rankone.core.tensors import save_tensors
from rankone.edits.lowrank.factors import Factors
from rankone.models.sites import sites_named

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def write_adapter(
    model: PreTrainedModel, factors: Mapping[str, Factors], folder: Path, base_name: str
) -> None:
    """Write PEFT's two files: A = read [r, d_in], B = write [d_out, r], α = r, modules named in full."""
    changing = {name: pair for name, pair in factors.items() if pair.write.shape[1] > 0}
    if not changing:
        raise RankOneError("the edit changes nothing (rank 0 everywhere): there is no adapter to write.")
    tensors = {}
    for name, pair in changing.items():
        tensors[f"{PREFIX}{name}.lora_A.weight"] = pair.read.float()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = pair.write.float()
    transposed = any(site.transposed for site in sites_named(model, list(changing)).values())
    ranks = {name: pair.write.shape[1] for name, pair in changing.items()}
    save_tensors(folder / TENSORS, tensors)
    write_json(folder / CONFIG, _config(ranks, transposed, base_name))


def _config(ranks: dict[str, int], transposed: bool, base_name: str) -> dict[str, Any]:
    """LoRA settings: r and α are the largest rank; sites of another rank are listed with theirs."""
    largest = max(ranks.values())
    others = {name: rank for name, rank in ranks.items() if rank != largest}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "target_modules": list(ranks),
        "r": largest,
        "lora_alpha": largest,
        "rank_pattern": others,
        "alpha_pattern": dict(others),
        "fan_in_fan_out": transposed,
        "bias": "none",
        "lora_dropout": 0.0,
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
        "init_lora_weights": True,
        "inference_mode": True,
    }
