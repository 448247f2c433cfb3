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
from rankone.core.artifact import MANIFEST, open_artifact, read_json, read_manifest
from rankone.core.errors import RankOneError, first_line
from rankone.core.files import parse_json, refuse_doubled_keys, require_regular
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
_INDEX = "model.safetensors.index.json"
_MODEL_JSON = ("config.json", "generation_config.json", _INDEX)
_TOKENIZER_JSON = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
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
    _refuse_keys(source, _MODEL_JSON)
    _refuse_doubled(source)
    _refuse_index(source)
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
    _refuse_untied(path_or_name, model)
    require_finite_weights(model, str(path_or_name))
    require_causal(model.eval())
    return model


def load_skeleton(path_or_name: str | Path) -> PreTrainedModel:
    """The model's modules and shapes from its configuration alone, on the meta device: no weight is read.

    Raises RankOneError as `load_model` does, and for an architecture that is not a causal LM.
    """
    source = resolve(path_or_name)
    _verify_manifest(source, read_manifest)
    _refuse_keys(source, _MODEL_JSON)
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
    _refuse_keys(source, _TOKENIZER_JSON)
    with _foreign("tokenizer", path_or_name, source):
        return AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, local_files_only=_only_here(source)
        )


def model_hash(model: nn.Module, dtype: torch.dtype | None = None) -> str:
    """SHA-256 over the names and `tensor_hash`es of all parameters (tied ones once), dtypes included; dtype: as if loaded
    in it."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name} {tensor_hash(parameter if dtype is None else parameter.to(dtype))}\n".encode())
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
                        f"'{name}' in '{file}' is not a matrix of real numbers but {dtype}: the model is quantised. Load "
                        "the checkpoint it was quantised from."
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
    if shards and (source / _INDEX).exists():
        raise RankOneError(
            f"'{source}' holds weights twice, in model.safetensors and in {len(shards)} shards ({shards[0]}, …): tools "
            "differ in which they read. Move one of the two elsewhere, the shards with model.safetensors.index.json."
        )


def _refuse_keys(source: Path | str, names: Sequence[str]) -> None:
    if isinstance(source, Path):
        for file in (source / name for name in names):
            if file.is_file():
                refuse_doubled_keys(file)


def _refuse_index(source: Path | str) -> None:
    """Raise unless shards and their index agree: every tensor in one shard of the folder, the one that the index names.

    What else lies there twice, or beside the index, is read by some tools and not by others; what lies elsewhere no manifest
    of the folder covers.
    """
    if not isinstance(source, Path) or not (source / _INDEX).is_file():
        return
    said = read_json(source / _INDEX).get("weight_map")
    if not isinstance(said, dict) or (source / "model.safetensors").exists():
        return  # no index, or one that nobody reads
    where = {name: str(file) for name, file in said.items()}
    held: dict[str, str] = {}
    for file in sorted(set(where.values())):
        if Path(file).name != file or "\\" in file:
            raise _index_error(source, f"leads out of the folder, to '{file}'")
        if not (source / file).is_file():
            raise _index_error(source, f"names the shard '{file}', which is not there")
        with _foreign("model", source, source), safe_open(source / file, "pt") as opened:
            names = list(opened.keys())
        for name in names:
            if name in held:
                raise _index_error(
                    source, f"leaves open which '{name}' counts, in '{held[name]}' or '{file}'"
                )
            held[name] = file
    for name in sorted({*where, *held}):
        if where.get(name) != held.get(name):
            there = f"lies in '{held[name]}'" if name in held else "lies in no shard"
            placed = f"'{where[name]}'" if name in where else "no shard"
            raise _index_error(source, f"names {placed} for '{name}', which {there}")


def _index_error(source: Path, said: str) -> RankOneError:
    return RankOneError(
        f"{_INDEX} of '{source}' {said}: tools differ in what they read. Restore index and shards from one source."
    )


def _refuse_untied(name: str | Path, model: PreTrainedModel) -> None:
    """Raise for an unembedding of its own where the configuration says that it is the embedding: libraries differ."""
    read, write = model.get_input_embeddings(), model.get_output_embeddings()
    tied = getattr(model, "_tied_weights_keys", None) and model.config.get_text_config().tie_word_embeddings
    if not tied or not isinstance(read, nn.Module) or not isinstance(write, nn.Module):
        return
    first, second = getattr(read, "weight", None), getattr(write, "weight", None)
    if first is None or second is None or first is second or first.shape != second.shape:
        return
    if not torch.equal(first, second):
        raise RankOneError(
            f"'{name}' holds an unembedding that differs from its embedding, but its config.json says "
            "tie_word_embeddings: some libraries use the one, some the other. Set it to false, or remove the tensor."
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
    reason = first_line(error)
    if isinstance(source, Path):
        return RankOneError(f"cannot load the {what} in '{source}': {reason}")
    builtin = ", ".join(BUILTIN_MODELS)
    return RankOneError(
        f"'{name}' is neither a directory nor a built-in model ({builtin}); as a Hub name it failed: {reason}"
    )
