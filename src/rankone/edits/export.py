"""Exports of an edit: a plain Hugging Face checkpoint, or a LoRA adapter in PEFT's format.

Each is written to a staging directory, loaded again in a fresh process (verify.py) and compared with the
edited model in memory; only one that passes appears under its name, with the figures in verification.json.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.artifact import new_artifact, write_json
from rankone.core.errors import RankOneError
from rankone.core.tensors import save_tensors
from rankone.edits.lowrank import LowRankEdit, cast_parameters, refuse_applied
from rankone.edits.verify import (
    ADAPTER_CONFIG,
    ADAPTER_TENSORS,
    REPORT,
    Verification,
    logits_of,
)
from rankone.metrics.kl import kl_in_chunks
from rankone.models.context import usual_context
from rankone.models.sites import sites_named
from rankone.models.sources.names import resolve

TOLERANCE = 1e-4  # max |Δlogit|, fp32 forward on both sides
KL_BOUND = 1e-2  # nats per token that rounding the weights to the export's dtype may cost
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class _Reference:
    """What the export must reproduce: logits [rows, length, vocab] of the edited model, in fp32."""

    ids: Tensor
    expected: Float[Tensor, "rows length vocab"]
    edited: Float[Tensor, "rows length vocab"]
    edit_kl: float


def export_checkpoint(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    edit: LowRankEdit,
    out: Path | str,
    dtype: torch.dtype = torch.float32,
    probe: Int[Tensor, "rows length"] | None = None,
    tolerance: float = TOLERANCE,
    kl_bound: float = KL_BOUND,
) -> Verification:
    """Write the edited model as an ordinary checkpoint (kind 'model') with its tokenizer, and verify it.

    Raises RankOneError, with nothing left at `out`, unless the reloaded logits on `probe` (default: 4 rows of
    random ids) are within `tolerance` of the edited model rounded to `dtype` and within `kl_bound` of the
    edited model itself. `model` is not changed.
    """
    _check_exportable(model, edit)
    if dtype not in _DTYPES:
        raise RankOneError(f"cannot export in {dtype}; choose one of {', '.join(map(str, _DTYPES))}.")
    with new_artifact(out, "model", _provenance(edit)) as staging:
        reference = _reference(model, edit, probe, dtype)
        merged, report = edit.merge(model, dtype)
        merged.save_pretrained(staging)  # pyright: ignore[reportCallIssue]
        tokenizer.save_pretrained(staging)
        del merged
        limits = {"dtype": _label(dtype), "tolerance": tolerance, "kl_bound": kl_bound}
        verification = _verify("checkpoint", staging, reference, {**limits, "merge": report.model_dump()})
        _accept(verification, staging, out)
    return verification


def export_adapter(
    model: PreTrainedModel,
    edit: LowRankEdit,
    out: Path | str,
    base_name: str,
    probe: Int[Tensor, "rows length"] | None = None,
    tolerance: float = TOLERANCE,
    kl_bound: float = KL_BOUND,
) -> Verification:
    """Write the edit as a LoRA adapter in PEFT's format (kind 'adapter', fp32, scale 1) and verify it.

    `base_name` is recorded as the base model. Where it names a local or built-in model, the adapter is
    verified on that one; for a Hub name (nothing is downloaded) on a temporary copy of `model`. PEFT reads
    the adapter where it is installed, RankOne's own reader otherwise. Errors as in `export_checkpoint`.
    """
    _check_exportable(model, edit)
    source = resolve(base_name)
    with new_artifact(out, "adapter", _provenance(edit)) as staging, tempfile.TemporaryDirectory() as scratch:
        reference = _reference(model, edit, probe, torch.float32)
        write_adapter(model, edit, staging, base_name)
        base = source if isinstance(source, Path) else Path(scratch)
        if not isinstance(source, Path):
            model.save_pretrained(scratch)
        values = {
            "dtype": "float32",
            "tolerance": tolerance,
            "kl_bound": kl_bound,
            "base": base_name if isinstance(source, Path) else "copy of the model in memory",
        }
        verification = _verify("adapter", staging, reference, values, base)
        _accept(verification, staging, out)
    return verification


def write_adapter(model: PreTrainedModel, edit: LowRankEdit, folder: Path, base_name: str) -> None:
    """Write PEFT's two files: A = read [r, d_in], B = write [d_out, r], α = r, modules named in full."""
    ranks = {name: edit.rank(name) for name in edit.sites if edit.rank(name) > 0}
    if not ranks:
        raise RankOneError("the edit changes nothing (rank 0 everywhere): there is no adapter to write.")
    tensors = {}
    for name in ranks:
        factors = edit.factors[name]
        tensors[f"base_model.model.{name}.lora_A.weight"] = factors.read.float()
        tensors[f"base_model.model.{name}.lora_B.weight"] = factors.write.float()
    transposed = any(site.transposed for site in sites_named(model, list(ranks)).values())
    save_tensors(folder / ADAPTER_TENSORS, tensors)
    write_json(folder / ADAPTER_CONFIG, _adapter_config(ranks, transposed, base_name))


def _adapter_config(ranks: dict[str, int], transposed: bool, base_name: str) -> dict[str, Any]:
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


def _check_exportable(model: PreTrainedModel, edit: LowRankEdit) -> None:
    refuse_applied(model)
    if getattr(model, "peft_config", None):
        raise RankOneError(
            "the model has PEFT adapters loaded; merge or unload them before exporting an edit."
        )
    sites_named(model, edit.sites)
    if edit.base:
        edit.check_base(model)


def _reference(
    model: PreTrainedModel, edit: LowRankEdit, probe: Tensor | None, dtype: torch.dtype
) -> _Reference:
    """Logits of an edited fp32 copy of the model, before and after rounding its weights to `dtype`.

    Made by `apply`, not by `merge` or the written factors, so that it tests them.
    """
    ids = _default_probe(model) if probe is None else probe
    scratch = copy.deepcopy(model).eval()
    cast_parameters(scratch, torch.float32)
    plain = logits_of(scratch, ids)
    edit.apply(scratch)
    edited = logits_of(scratch, ids)
    cast_parameters(scratch, dtype)
    cast_parameters(scratch, torch.float32)
    expected = logits_of(scratch, ids)
    return _Reference(ids.cpu(), expected, edited, float(kl_in_chunks(edited, plain).mean()))


def _default_probe(model: PreTrainedModel) -> Int[Tensor, "rows length"]:
    embedding: Any = model.get_input_embeddings()
    length = usual_context(model, 32)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, embedding.weight.shape[0], (4, length), generator=generator)


def _verify(
    kind: str, staging: Path, reference: _Reference, values: dict[str, Any], base: Path | None = None
) -> Verification:
    """Reload in a fresh process and collect what it measured; RankOneError when it cannot load the export."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, report = Path(folder) / "inputs.safetensors", Path(folder) / "report.json"
        parts = {"ids": reference.ids, "expected": reference.expected, "edited": reference.edited}
        save_tensors(inputs, parts)
        arguments = [kind, str(staging), "--inputs", str(inputs), "--report", str(report)]
        arguments += ["--base", str(base)] if base is not None else []
        reason = _run_verifier(arguments)
        if reason is not None:
            raise RankOneError(f"the exported {kind} does not load again, so it was not written: {reason}")
        measured = json.loads(report.read_text("utf8"))
    tokens = reference.ids.numel()
    return Verification(kind=kind, tokens=tokens, edit_kl=reference.edit_kl, **values, **measured)


def _run_verifier(arguments: list[str]) -> str | None:
    """Run verify.py in a fresh process, offline; None when it went well, else the last line of its errors."""
    command = [sys.executable, "-m", "rankone.edits.verify", *arguments]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, env=offline, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def _accept(verification: Verification, staging: Path, out: Path | str) -> None:
    """Store the report in the export, or refuse it."""
    v = verification
    if not v.passed:
        raise RankOneError(
            f"the exported {v.kind} does not reproduce the edited model: max |Δlogit| from the files "
            f"{v.file_difference:.3g} (tolerance {v.tolerance:.3g}), KL {v.kl:.3g} nats per token (bound "
            f"{v.kl_bound:.3g}, {v.dtype}). Nothing was written to '{out}'. If only the KL is too large, "
            "export in float32 or as an adapter."
        )
    write_json(staging / REPORT, v.as_json())


def _label(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _provenance(edit: LowRankEdit) -> dict[str, Any]:
    ranks = {name: edit.rank(name) for name in edit.sites}
    return {"edit": {"description": edit.description, "method": edit.method, "ranks": ranks}}
