"""The reading side of an export: load it in this (fresh) process and compare its logits.

`python -m rankone.edits.verify checkpoint|adapter PATH --inputs FILE --report FILE [--base DIR]` is what
export.py starts before an export may appear under its name. Everything runs in fp32.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rankone.core.artifact import write_json
from rankone.core.errors import RankOneError
from rankone.core.tensors import read_tensors
from rankone.edits.lowrank import Factors, LowRankEdit
from rankone.metrics.kl import kl_in_chunks
from rankone.models.loading import load_model, load_tokenizer

REPORT = "verification.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_TENSORS = "adapter_model.safetensors"
_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Verification:
    """How far a reloaded export is from the edited model in memory, on `tokens` probe positions, in fp32.

    `file_difference` is max |Δlogit| against the edited model rounded to the export's dtype: what the files
    get wrong. `difference` (max |Δlogit|) and `kl` (mean KL(edited ‖ reloaded), nats per token; `kl_max` its
    maximum) are against the edited model itself: they include the rounding. `edit_kl` is KL(edited ‖ base):
    how much the edit does on this probe. `engine` is what read the files: transformers, peft or rankone.
    """

    kind: str
    dtype: str
    engine: str
    tokens: int
    file_difference: float
    tolerance: float
    difference: float
    kl: float
    kl_max: float
    kl_bound: float
    edit_kl: float
    base: str | None = None
    merge: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Files exact within `tolerance` and rounding within `kl_bound`; NaN fails."""
        return self.file_difference <= self.tolerance and self.kl <= self.kl_bound

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


def logits_of(model: nn.Module, ids: Int[Tensor, "rows length"]) -> Float[Tensor, "rows length vocab"]:
    """The model's logits as fp32 on the CPU, without gradients."""
    device = next(model.parameters()).device
    with torch.no_grad():
        return model(input_ids=ids.to(device), use_cache=False).logits.float().cpu()


def largest_difference(a: Tensor, b: Tensor) -> float:
    """max |a − b|; NaN where either holds one."""
    return float((a - b).abs().max())


def peft_installed() -> bool:
    """Whether adapters can be verified by PEFT itself."""
    return importlib.util.find_spec("peft") is not None


def read_adapter(folder: Path) -> LowRankEdit:
    """RankOne's own reading of a PEFT LoRA adapter (modules named in full), its scales α/r folded into B.

    RankOneError for anything but plain LoRA factors of linear maps, and for missing or surplus tensors.
    """
    config = json.loads((folder / ADAPTER_CONFIG).read_text("utf8"))
    refused = [k for k in ("use_dora", "use_rslora", "modules_to_save") if config.get(k)]
    if config.get("peft_type") != "LORA" or refused or config.get("bias", "none") != "none":
        raise RankOneError(f"'{folder}' is no plain LoRA adapter ({', '.join(refused) or 'type or bias'}).")
    tensors = read_tensors(folder / ADAPTER_TENSORS)
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
    return LowRankEdit(factors, description=f"adapter {folder.name}", method="adapter")


def reload_checkpoint(path: Path, ids: Tensor) -> tuple[str, Tensor]:
    """Load a checkpoint with its tokenizer; the engine's name and the logits."""
    load_tokenizer(path)
    return "transformers", logits_of(load_model(path), ids)


def reload_adapter(path: Path, base: Path, ids: Tensor) -> tuple[str, Tensor]:
    """Load an adapter on its base model by PEFT, or by `read_adapter` without it; engine and logits."""
    model = load_model(base)
    if not peft_installed():
        with read_adapter(path).applied(model):
            return "rankone", logits_of(model, ids)
    from peft import PeftModel

    return "peft", logits_of(PeftModel.from_pretrained(model, str(path)).eval(), ids)


def compare(inputs: dict[str, Tensor], reloaded: Float[Tensor, "rows length vocab"]) -> dict[str, float]:
    """The differences that `Verification` reports; `inputs` holds the expected and the edited logits."""
    if reloaded.shape != inputs["edited"].shape:
        raise RankOneError(f"logits have shape {list(reloaded.shape)}, not {list(inputs['edited'].shape)}.")
    kl = kl_in_chunks(inputs["edited"], reloaded)
    return {
        "file_difference": largest_difference(inputs["expected"], reloaded),
        "difference": largest_difference(inputs["edited"], reloaded),
        "kl": float(kl.mean()),
        "kl_max": float(kl.max()),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the fresh process: writes the measured values to `--report`."""
    parser = argparse.ArgumentParser(prog="python -m rankone.edits.verify", description=__doc__)
    parser.add_argument("kind", choices=("checkpoint", "adapter"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--inputs", type=Path, required=True, help="safetensors: ids, expected, edited")
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--base", type=Path, help="directory of the base model (adapter)")
    options = parser.parse_args(argv)
    if options.kind == "adapter" and options.base is None:
        parser.error("an adapter needs --base")
    inputs = read_tensors(options.inputs)
    if options.kind == "adapter":
        engine, logits = reload_adapter(options.path, options.base, inputs["ids"])
    else:
        engine, logits = reload_checkpoint(options.path, inputs["ids"])
    write_json(options.report, {"engine": engine, **compare(inputs, logits)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
