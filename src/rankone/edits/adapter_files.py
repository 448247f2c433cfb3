"""The two files of a LoRA adapter in PEFT's format: written from an edit's factors, and read back as factors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from rankone.core.artifact import read_json, write_json
from rankone.core.errors import RankOneError
from rankone.core.tensors import read_tensors, save_tensors
from rankone.edits.lowrank.factors import Factors
from rankone.models.sites import sites_named

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


def write_adapter(
    model: PreTrainedModel, factors: Mapping[str, Factors], folder: Path, base_name: str
) -> None:
    """Write PEFT's two files: A = read [r, d_in], B = write [d_out, r], α = r, modules named in full."""
    changing = {name: pair for name, pair in factors.items() if pair.write.shape[1] > 0}
    if not changing:
        raise RankOneError("the edit changes nothing (rank 0 everywhere): there is no adapter to write.")
    tensors = {}
    for name, pair in changing.items():
        tensors[f"{_PREFIX}{name}.lora_A.weight"] = pair.read.float()
        tensors[f"{_PREFIX}{name}.lora_B.weight"] = pair.write.float()
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


def read_adapter(folder: Path) -> dict[str, Factors]:
    """The factors of a PEFT LoRA adapter (modules named in full), its scales α/r folded into B.

    RankOneError for anything but plain LoRA factors of linear maps, and for missing or surplus tensors.
    """
    config: dict[str, Any] = read_json(folder / CONFIG)
    refused = [k for k in ("use_dora", "use_rslora", "modules_to_save") if config.get(k)]
    if config.get("peft_type") != "LORA" or refused or config.get("bias", "none") != "none":
        raise RankOneError(f"'{folder}' is no plain LoRA adapter ({', '.join(refused) or 'type or bias'}).")
    tensors = read_tensors(folder / TENSORS)
    factors = {}
    for name in config["target_modules"]:
        key = f"{_PREFIX}{name}"
        try:
            read, write = tensors.pop(f"{key}.lora_A.weight"), tensors.pop(f"{key}.lora_B.weight")
        except KeyError as error:
            raise RankOneError(
                f"'{folder}' lacks the tensor {error} of its target module '{name}'."
            ) from None
        scale = config["alpha_pattern"].get(name, config["lora_alpha"]) / config["rank_pattern"].get(
            name, config["r"]
        )
        factors[name] = Factors(write * scale, read)
    if tensors:
        raise RankOneError(f"'{folder}' holds tensors of no target module: {', '.join(sorted(tensors)[:3])}.")
    return factors
