"""Loading target models and tokenizers by built-in name, directory or Hub name; verified, never in part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

import rankone.models.simple_mlp  # noqa: F401  (registers the built-in architecture with the Auto classes)
from rankone.core.artifact import MANIFEST, open_artifact, read_manifest
from rankone.core.errors import RankOneError
from rankone.core.files import parse_json, require_regular
from rankone.core.tensors import tensor_hash
from rankone.models.soundness import require_causal, require_finite_weights
from rankone.models.sources.known import BUILTIN_MODELS
from rankone.models.sources.names import findable, resolve
from rankone.runtime import hub
from rankone.runtime.quiet import without_bars

# Tables that old checkpoints hold and models compute.
_COMPUTED = ("rotary_emb.inv_freq",)
# Types of safetensors that hold a weight's own values.
_REAL = ("F64", "F32", "F16", "BF16")
_MANIFEST_KEYS = {"kind", "files", "schema_version"}


def load_model(path_or_name: str | Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Load a causal LM in eval mode, its parameters in `dtype`.

    A RankOne artefact is verified against its manifest first. No code from the checkpoint is run and no pickle
    is read: the weights must be safetensors. Raises RankOneError for what is missing, damaged, incomplete or
    quantised, for tensors that the model has no place for, NaN and infinity, an adapter beside the model, and a model
    that sees later tokens: no parameter is ever left at a random value.
    """
    source = findable(path_or_name)
    _verify_manifest(source)
    _refuse_adapter(source)
    _refuse_special(source)
    _refuse_doubled(source)
    _refuse_quantised(path_or_name, _config(path_or_name, source))
    _refuse_packed(source)
    with _foreign("model", path_or_name, source), without_bars(isinstance(source, Path)):
        model, info = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]
            source,
            dtype=dtype,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=_only_here(source),
            ignore_mismatched_sizes=True,  # they are refused below, by name
        )
    _refuse_gaps(path_or_name, info)
    if getattr(model, "peft_config", None):
        raise _adapter_error(path_or_name)
    require_finite_weights(model, str(path_or_name))
    require_causal(model.eval())
    return model


def load_skeleton(path_or_name: str | Path) -> PreTrainedModel:
    """The model's modules and shapes from its configuration alone, on the meta device: no weight is read.

    Raises RankOneError as `load_model` does, and for an architecture that is no causal LM.
    """
    source = resolve(path_or_name)
    _verify_manifest(source, read_manifest)
    config = _config(path_or_name, source)
    _refuse_quantised(path_or_name, config)
    with _foreign("model", path_or_name, source), torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=False).eval()


def _config(name: str | Path, source: Path | str) -> PreTrainedConfig:
    with _foreign("model", name, source):
        return AutoConfig.from_pretrained(
            source, trust_remote_code=False, local_files_only=_only_here(source)
        )


def _only_here(source: Path | str) -> bool:
    """Whether to look no further than this machine: a folder, or a Hub that cannot be reached."""
    return isinstance(source, Path) or not hub.reachable()


def _refuse_quantised(name: str | Path, config: PreTrainedConfig) -> None:
    quantisation = getattr(config, "quantization_config", None)
    if quantisation:
        method = (
            quantisation.get("quant_method")
            if isinstance(quantisation, dict)
            else type(quantisation).__name__
        )
        raise RankOneError(
            f"'{name}' is quantised ({method}): its matrices cannot be decomposed or edited exactly. "
            "Load the checkpoint it was quantised from."
        )


def load_tokenizer(path_or_name: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer saved beside a model, or in a folder of its own; RankOneError where there is none."""
    alone = Path(path_or_name)
    source = alone if (alone / "tokenizer_config.json").is_file() else resolve(path_or_name)
    _verify_manifest(source)
    with _foreign("tokenizer", path_or_name, source):
        return AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, local_files_only=_only_here(source)
        )


def model_hash(model: nn.Module) -> str:
    """SHA-256 over the names and `tensor_hash`es of all parameters (tied ones once), dtypes included."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name} {tensor_hash(parameter)}\n".encode())
    return digest.hexdigest()


def _verify_manifest(source: Path | str, verify: Callable[[Path, str], object] = open_artifact) -> None:
    """Check kind and every hash where the directory is a RankOne artefact; another tool's manifest is ignored."""
    if not isinstance(source, Path) or not (source / MANIFEST).is_file():
        return
    try:
        manifest = parse_json((source / MANIFEST).read_text("utf8"))
    except ValueError:
        manifest = dict.fromkeys(_MANIFEST_KEYS)  # damaged: let `verify` say so
    if isinstance(manifest, dict) and _MANIFEST_KEYS & manifest.keys():
        verify(source, "model")


def _refuse_gaps(name: str | Path, info: Mapping[str, Collection[str] | None]) -> None:
    for kind in ("missing_keys", "mismatched_keys", "error_msgs"):
        gaps = sorted(map(_named, info.get(kind) or ()))
        if gaps:
            raise RankOneError(
                f"'{name}' does not fill the whole model: {kind.replace('_', ' ')} {', '.join(gaps[:3])} "
                f"({len(gaps)} in all). The checkpoint is incomplete or belongs to another architecture."
            )
    surplus = sorted(key for key in info.get("unexpected_keys") or () if not key.endswith(_COMPUTED))
    if surplus:
        raise RankOneError(
            f"'{name}' holds tensors that its configuration has no place for: {', '.join(surplus[:3])} ({len(surplus)} in "
            "all). Without them it would be another model; restore the config.json that belongs to these weights."
        )


def _named(gap: str | tuple[str, Sequence[int], Sequence[int]]) -> str:
    """A key, with its shape in the file and in the model where they differ."""
    if isinstance(gap, str):
        return gap
    name, held, wanted = gap
    return f"{name} ({list(held)} in the file, {list(wanted)} by config.json)"


def _refuse_packed(source: Path | str) -> None:
    """Raise for weights kept as whole numbers or in 8 bits: they would be cast as if these were their values."""
    for file in sorted(source.glob("*.safetensors")) if isinstance(source, Path) else ():
        with _foreign("model", source, source), safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118  (no mapping)
                dtype = opened.get_slice(name).get_dtype()
                if name.endswith("weight") and dtype not in _REAL:
                    raise RankOneError(
                        f"'{name}' in '{file}' is no matrix of real numbers but {dtype}: the model is quantised. Load the "
                        "checkpoint it was quantised from."
                    )


def _refuse_adapter(source: Path | str) -> None:
    if isinstance(source, Path) and (source / "adapter_config.json").exists():
        raise _adapter_error(source)


def _refuse_special(source: Path | str) -> None:
    """Raise for a pipe, a device or a broken link in the place of one of the model's files: opening one may never return."""
    for path in sorted(source.iterdir()) if isinstance(source, Path) else ():
        try:
            require_regular(path)
        except (OSError, ValueError) as error:
            raise RankOneError(
                f"cannot read '{path}': {error}. Restore the model from its source."
            ) from error


def _refuse_doubled(source: Path | str) -> None:
    """Raise for weights that lie there whole and in shards: which of them are read depends on the tool."""
    if not isinstance(source, Path) or not (source / "model.safetensors").exists():
        return
    shards = sorted(path.name for path in source.glob("model-*-of-*.safetensors"))
    if shards and (source / "model.safetensors.index.json").exists():
        raise RankOneError(
            f"'{source}' holds weights twice, in model.safetensors and in {len(shards)} shards ({shards[0]}, …): tools "
            "differ in which they read. Move one of the two elsewhere, the shards with model.safetensors.index.json."
        )


def _adapter_error(source: Path | str) -> RankOneError:
    return RankOneError(
        f"'{source}' holds an adapter beside the model (adapter_config.json): whether it is applied would depend on PEFT "
        "being installed. Merge it into the model (merge_and_unload), or move it to a folder of its own."
    )


@contextmanager
def _foreign(what: str, name: str | Path, source: Path | str) -> Iterator[None]:
    """Whatever a library makes of files that others wrote becomes a RankOneError that names them."""
    try:
        yield
    except RankOneError:
        raise
    except Exception as error:
        raise _load_error(what, name, source, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of the tokenizers' Rust
            raise
        raise _load_error(what, name, source, error) from error


def _load_error(what: str, name: str | Path, source: Path | str, error: BaseException) -> RankOneError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if isinstance(source, Path):
        return RankOneError(f"cannot load the {what} in '{source}': {reason}")
    builtin = ", ".join(BUILTIN_MODELS)
    return RankOneError(
        f"'{name}' is neither a directory nor a built-in model ({builtin}); as a Hub name it failed: {reason}"
    )
