"""Exports of an edit: a plain Hugging Face checkpoint, or a LoRA adapter in PEFT's format.

Each is written to a staging directory, loaded again by its real consumer (plain transformers or PEFT, in a process that
cannot import RankOne; consumption.py) and compared with the edited model in memory; only one that passes appears under
its name, with the figures in verification.json and a card that says what it is.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.artifact import Provenance, new_artifact, write_json, write_text
from rankone.core.claims import scratch_folder
from rankone.core.errors import RankOneError
from rankone.edits.adapter_files import write_adapter
from rankone.edits.adapter_reading import read_adapter
from rankone.edits.beside import refuse_read_past
from rankone.edits.card import card
from rankone.edits.consumption import Consumed, consume
from rankone.edits.lowrank.applied import apply_factors, refuse_applied
from rankone.edits.lowrank.factors import Factors
from rankone.edits.lowrank.merging import Merged, cast_parameters
from rankone.edits.serving.vllm import vllm_serving
from rankone.edits.verification import (
    REPORT,
    Form,
    Logits,
    Verification,
    largest_difference,
    logits_of,
    realised_share,
)
from rankone.metrics.kl import kl_in_chunks
from rankone.models.context import usual_context
from rankone.models.loading import load_model, load_tokenizer
from rankone.models.simple_mlp import SimpleMLPForCausalLM
from rankone.models.sites import sites_named
from rankone.models.sources.known import BUILTIN_MODELS
from rankone.models.sources.names import ASSETS, resolve
from rankone.models.sources.stock import to_stock
from rankone.runtime.quiet import without_bars
from rankone.text.openers import opener

TOLERANCE = 1e-4  # max |Δlogit|, fp32 forward on both sides
LOGITS = 10.0  # the largest logits that this tolerance is for
KL_BOUND = 1e-2  # nats per token that rounding the weights to the export's dtype may cost
ROUNDING_SHARE = 0.25  # of the edit's own KL that rounding may cost: half its size, as KL is quadratic
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@runtime_checkable
class Exportable(Protocol):
    """What an export needs of an edit (`LowRankEdit`)."""

    @property
    def factors(self) -> Mapping[str, Factors]:
        """The change of each site."""
        ...

    @property
    def base(self) -> Mapping[str, str]:
        """Hashes of the weights it was made for."""
        ...

    @property
    def description(self) -> str:
        """What it does, in words."""
        ...

    @property
    def method(self) -> str:
        """How it was made."""
        ...

    @property
    def sites(self) -> Sequence[str]:
        """The sites it changes."""
        ...

    def check_base(self, model: nn.Module) -> object:
        """Refuse another model."""
        ...

    def merge(self, model: nn.Module, dtype: torch.dtype | None = None, in_place: bool = False) -> Merged:
        """The edited model."""
        ...


class Limits(NamedTuple):
    """What an export may be off by: see `Verification`."""

    tolerance: float = TOLERANCE
    kl_bound: float = KL_BOUND
    rounding_share: float = ROUNDING_SHARE

    def at(self, logits: Logits) -> Limits:
        """The limits for logits of this size: what fp32 rounds off grows with them, past those the tolerance is set for."""
        return self._replace(tolerance=self.tolerance * max(1.0, float(logits.abs().max()) / LOGITS))


LIMITS = Limits()


@dataclass(frozen=True)
class _Reference:
    """What the export must reproduce, in fp32: the base, the edited model, and the edited model rounded."""

    ids: Int[Tensor, "rows length"]
    plain: Logits
    edited: Logits
    expected: Logits


def export_checkpoint(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    edit: Exportable,
    out: Path | str,
    dtype: torch.dtype = torch.float32,
    probe: Int[Tensor, "rows length"] | None = None,
    limits: Limits = LIMITS,
    stock: bool = False,
) -> Verification:
    """Write the edited model as an ordinary checkpoint (kind 'model') with its tokenizer, and verify it.

    `stock` writes the built-in architecture as one that every tool has (models/stock.py).

    Raises RankOneError, with nothing left at `out`, unless the reloaded logits on `probe` (default: 4 rows of
    random ids) are within the tolerance of the edited model rounded to `dtype`, and rounding costs neither more than
    `kl_bound` nor more than its share of what the edit does. `model` is not changed.
    """
    _check_exportable(model, edit)
    if dtype not in _DTYPES:
        raise RankOneError(f"cannot export in {dtype}; choose one of {', '.join(map(str, _DTYPES))}.")
    out = Path(out)
    with new_artifact(out, "model", _provenance(edit)) as staging, scratch_folder(out) as scratch:
        reference = _reference(model, edit, probe, dtype)
        merged, report = edit.merge(model, dtype)
        written = to_stock(merged) if stock else merged  # pyright: ignore[reportArgumentType]
        with without_bars():
            written.save_pretrained(staging)  # pyright: ignore[reportCallIssue]
        tokenizer.save_pretrained(staging)
        del merged, written
        trust_code = isinstance(model, SimpleMLPForCausalLM) and not stock
        consumed = consume("checkpoint", staging, reference.ids, scratch, None, trust_code)
        about = {"dtype": _label(dtype), "merge": report, "remote_code": trust_code}
        verification = _verification("checkpoint", consumed, reference, limits, about)
        _accept(verification, edit, staging, out, tokenizer=tokenizer)
    return verification


def export_adapter(
    model: PreTrainedModel,
    edit: Exportable,
    out: Path | str,
    base_name: str,
    probe: Int[Tensor, "rows length"] | None = None,
    limits: Limits = LIMITS,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Verification:
    """Write the edit as a LoRA adapter in PEFT's format (kind 'adapter', fp32, scale 1) and verify it.

    `base_name` is recorded as the base model. Where it names a local or built-in model, the adapter is
    verified on that one; for a Hub name (nothing is downloaded) on a temporary copy of `model`. PEFT reads
    the adapter, as it is and merged; where PEFT is not installed, RankOne's own reader does, and the result, its card and
    its `warnings` say so. tokenizer: the base's, of which the card says what opens a text; that of a built-in base is
    known. Errors as in `export_checkpoint`; also for sites whose weight is read past the module, where an
    adapter does nothing.
    """
    _check_exportable(model, edit)
    source, out = resolve(base_name), Path(out)
    with new_artifact(out, "adapter", _provenance(edit)) as staging, scratch_folder(out) as scratch:
        reference = _reference(model, edit, probe, torch.float32)
        refuse_read_past(
            model, edit.factors, reference.ids, reference.edited, limits.at(reference.edited).tolerance
        )
        write_adapter(model, edit.factors, staging, base_name)
        trust_code = isinstance(model, SimpleMLPForCausalLM)
        base = _base_folder(model, source, scratch, trust_code)
        consumed = consume("adapter", staging, reference.ids, scratch, base, trust_code)
        if consumed.logits is None:
            consumed = Consumed("rankone", _by_our_reader(staging, base, reference.ids))
        about = {
            "dtype": "float32",
            "base": base_name if isinstance(source, Path) else "copy of the model in memory",
            "remote_code": trust_code,
            "vllm": vllm_serving(staging, trust_code),
        }
        verification = _verification("adapter", consumed, reference, limits, about)
        if tokenizer is None and base_name in BUILTIN_MODELS:
            tokenizer = load_tokenizer(source)
        _accept(verification, edit, staging, out, base_name, tokenizer)
    return verification


def name_of(model: PreTrainedModel) -> str:
    """The built-in name, Hub name or path that a model was loaded by; RankOneError where it has none."""
    name = model.name_or_path
    if not name:
        raise RankOneError(
            "the model was not loaded by a name: say what PEFT is to load as the base (base_name)."
        )
    path = Path(name)
    return path.name if path.parent == ASSETS and path.name in BUILTIN_MODELS else name


def _base_folder(model: PreTrainedModel, source: Path | str, scratch: Path, trust_code: bool) -> Path:
    """The base model's folder; a copy where there is none, or where code would be run that RankOne did not write."""
    if isinstance(source, Path) and not trust_code:
        return source
    copied = load_model(source) if isinstance(source, Path) else model
    with without_bars():
        copied.save_pretrained(scratch / "base")
    return scratch / "base"


def _by_our_reader(folder: Path, base: Path, ids: Tensor) -> Logits:
    model = load_model(base)
    apply_factors(model, object(), f"adapter '{folder.name}'", read_adapter(folder))
    return logits_of(model, ids)


def _check_exportable(model: PreTrainedModel, edit: Exportable) -> None:
    refuse_applied(model)
    if getattr(model, "peft_config", None):
        raise RankOneError(
            "the model has PEFT adapters loaded; merge or unload them before exporting an edit."
        )
    sites_named(model, edit.sites)
    if edit.base:
        edit.check_base(model)


def _reference(
    model: PreTrainedModel, edit: Exportable, probe: Tensor | None, dtype: torch.dtype
) -> _Reference:
    """Logits of an fp32 copy of the model: as it is, edited, and edited with its weights rounded to `dtype`.

    Made in place, not by `merge` or the written factors, so that it tests them.
    """
    ids = _default_probe(model) if probe is None else probe
    scratch = copy.deepcopy(model).eval()
    cast_parameters(scratch, torch.float32)
    plain = logits_of(scratch, ids)
    apply_factors(scratch, edit, "the edit", edit.factors)
    edited = logits_of(scratch, ids)
    cast_parameters(scratch, dtype)
    cast_parameters(scratch, torch.float32)
    return _Reference(ids.cpu(), plain, edited, logits_of(scratch, ids))


def _default_probe(model: PreTrainedModel) -> Int[Tensor, "rows length"]:
    embedding: Any = model.get_input_embeddings()
    length = usual_context(model, 32)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, embedding.weight.shape[0], (4, length), generator=generator)


def _verification(
    kind: Form, consumed: Consumed, reference: _Reference, limits: Limits, about: dict[str, Any]
) -> Verification:
    """The figures of what the consumer computed; of an adapter, the worse of beside the weights and merged."""
    read = [logits for logits in (consumed.logits, consumed.merged) if logits is not None]
    for logits in read:
        if logits.shape != reference.edited.shape:
            raise RankOneError(f"logits have shape {list(logits.shape)}, not {list(reference.edited.shape)}.")
    # NaN first: it must not win by losing every comparison.
    worst = max(read, key=lambda logits: (bool(logits.isnan().any()), _off(reference, logits)))
    kl = kl_in_chunks(reference.edited, worst)
    return Verification(
        kind=kind,
        engine=consumed.engine,  # pyright: ignore[reportArgumentType]
        tokens=reference.ids.numel(),
        file_difference=largest_difference(reference.expected, worst),
        difference=largest_difference(reference.edited, worst),
        kl=float(kl.mean()),
        kl_max=float(kl.max()),
        edit_kl=float(kl_in_chunks(reference.edited, reference.plain).mean()),
        realised=realised_share(reference.plain, reference.edited, worst),
        **limits.at(reference.edited)._asdict(),
        **about,
    )


def _off(reference: _Reference, logits: Logits) -> float:
    return largest_difference(reference.expected, logits)


def _accept(
    verification: Verification,
    edit: Exportable,
    staging: Path,
    out: Path,
    base_name: str = "",
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> None:
    """Store the report and the card in the export, or refuse it."""
    v = verification
    if v.exact and not v.passed and v.dtype != "float32":
        # Of a change below the rounding itself a share means nothing.
        share = f"{v.realised:.1%} of the edit would be realised"
        kept = share if v.edit_kl > v.kl and 0 <= v.realised <= 1 else "the edit is smaller than the rounding"
        raise RankOneError(
            f"rounding to {v.dtype} costs too much: KL {v.kl:.3g} nats per token (bound {v.kl_bound:.3g}), beside "
            f"{v.edit_kl:.3g} that the edit itself does (at most {v.rounding_share:.0%} of it); {kept}. "
            f"Nothing was written to '{out}'. Export in float32, or as an adapter."
        )
    if not v.passed:
        raise RankOneError(
            f"the exported {v.kind} does not reproduce the edited model: max |Δlogit| from the files "
            f"{v.file_difference:.3g} (tolerance {v.tolerance:.3g}), KL {v.kl:.3g} nats per token (bound "
            f"{v.kl_bound:.3g}, {v.dtype}), {v.realised:.1%} of the edit realised when {v.engine} reads it. "
            f"Nothing was written to '{out}'."
            + (" Export a checkpoint instead: it holds the edited weights." if v.kind == "adapter" else "")
        )
    write_json(staging / REPORT, v.model_dump(), constants=True)
    said = card(v, edit.description, edit.method, edit.sites, base_name, _opens(tokenizer))
    write_text(staging / "README.md", said)


def _opens(tokenizer: PreTrainedTokenizerBase | None) -> str | None:
    """The token that opens a text, '' for none; None where it is not known."""
    try:
        return None if tokenizer is None else opener(tokenizer).token
    except RankOneError:
        return None


def _label(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _provenance(edit: Exportable) -> Provenance:
    ranks = {name: pair.write.shape[1] for name, pair in edit.factors.items()}
    return {"edit": {"description": edit.description, "method": edit.method, "ranks": ranks}}
