"""Importing a published target and its decomposition: every key and shape checked, then written as RankOne's artefacts.

Keys of a decomposition (torch state dict): `target_model.<key of the target>`; per site, with dashes for dots in its path,
`_components.<site>.V` [d_in, C] and `.U` [C, d_out]; and the importance function under `ci_fn.`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import JsonValue
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rankone.core.artifact import Provenance, file_hash, new_artifact, new_folder, refuse_existing
from rankone.core.config import Record
from rankone.core.errors import RankOneError, nearest
from rankone.decomposition.importance.config import SharedTransformerConfig
from rankone.decomposition.importers.files import RunFiles, read_yaml
from rankone.decomposition.importers.foreign import read_foreign
from rankone.decomposition.importers.keys import Shape, check_tensors, renamed
from rankone.decomposition.importers.shared_transformer import (
    PublishedTransformer,
    SiteSizes,
    transformer_from,
    transformer_shapes,
)
from rankone.decomposition.importers.target import (
    HEAD,
    read_target_config,
    read_tokenizer,
    refuse_other_weights,
    target_from,
)
from rankone.decomposition.model import Decomposition, save_decomposition
from rankone.decomposition.site import delta_of, site_weight
from rankone.decomposition.storage import Storage
from rankone.models.simple_mlp import SimpleMLPForCausalLM
from rankone.models.sites import Site, find_sites
from rankone.parts.naming import site_key
from rankone.runtime.progress import Meter, meter

TARGET_PREFIX = "target_model."
STAGES = 4


class Imported(Record):
    """What was written, and how faithful each site is: ‖Δ‖² / ‖W‖², near 0 for a trained decomposition."""

    model: Path
    decomposition: Path | None
    context: int
    tokenizer: bool
    counts: dict[str, int]
    unexplained: dict[str, float]


def import_published(
    files: RunFiles, out: Path, tokenizer: str | None = None, storage: Storage = "float32"
) -> Imported:
    """Write `out/model` and, where there is one, `out/decomposition`; on any error nothing is written.

    With `storage` float32 both compute what the published ones do. Raises RankOneError for what is missing, too much,
    of another shape, or beyond RankOne's architectures.
    """
    refuse_existing(out)
    with meter("import", STAGES) as bar:
        target, decomposition = _read(files, bar)
        target_tokenizer = read_tokenizer(
            tokenizer, files.tokenizer, target.config.max_position_embeddings, target.config.vocab_size
        )
        _name_special_tokens(target, target_tokenizer)
        provenance = _provenance(files)
        bar.advance(1, "hashed")
        with new_folder(out) as staging:
            _write_model(target, target_tokenizer, staging / "model", provenance)
            if decomposition is not None:
                counts = dict(zip(decomposition.sites, decomposition.counts, strict=True))
                more = {**provenance, "original_subcomponents": counts}
                target.name_or_path = f"{out.name}/model"
                save_decomposition(decomposition, target, staging / "decomposition", more, None, storage)
        bar.advance(1, "written")
    return _account(target, decomposition, target_tokenizer is not None, out)


def _read(files: RunFiles, bar: Meter) -> tuple[SimpleMLPForCausalLM, Decomposition | None]:
    checkpoint = None if files.target is None else renamed(read_foreign(files.target), files.target)
    if files.decomposition is None:
        assert files.target is not None  # `locate` found one of the two
        assert checkpoint is not None
        config = read_target_config(files.model_config, files.target.parent)
        target = target_from(checkpoint, config, files.target)
        bar.advance(2, "target read")
        return target, None
    config = read_target_config(files.model_config, files.decomposition.parent)
    everything = renamed(read_foreign(files.decomposition), files.decomposition)
    tensors = {k: t for k, t in everything.items() if not k.startswith(TARGET_PREFIX)}
    inside = {k.removeprefix(TARGET_PREFIX): t for k, t in everything.items() if k.startswith(TARGET_PREFIX)}
    target = target_from(inside, config, files.decomposition)
    if checkpoint is not None and files.target is not None:
        check_tensors(checkpoint, config.shapes(), files.target, optional=(HEAD,))
        refuse_other_weights(inside, checkpoint, files.decomposition)
    bar.advance(1, "target read")
    decomposition = decomposition_from(tensors, files.config, target, files.decomposition)
    bar.advance(1, "decomposition read")
    return target, decomposition


def decomposition_from(
    tensors: Mapping[str, Tensor], config: Path | None, target: SimpleMLPForCausalLM, where: Path
) -> Decomposition:
    """The decomposition in fp32 from its tensors under today's keys, without those of the target."""
    if config is None:
        raise RankOneError(f"no final_config.yaml beside '{where}': it says which sites and sizes to expect.")
    values = read_yaml(config)
    sizes = _importance_sizes(values, str(config))
    sites = find_sites(target)
    counts = _counts(values, sites, str(config))
    chosen = {site.name: site for site in sites if site.name in counts}
    table = {name: SiteSizes(site.d_in, counts[name]) for name, site in chosen.items()}
    expected = _factor_shapes(chosen, counts) | transformer_shapes(sizes, table)
    optional = [key for key in expected if key.endswith("rope.inv_freq")]
    check_tensors(tensors, expected, where, optional)
    factors = {
        name: (
            tensors[f"_components.{site_key(name)}.V"].float(),
            tensors[f"_components.{site_key(name)}.U"].float(),
        )
        for name in chosen
    }
    return Decomposition(factors, transformer_from(tensors, sizes, table, where)).eval().requires_grad_(False)


def _importance_sizes(values: Mapping[str, object], where: str) -> SharedTransformerConfig:
    """Sizes of the importance function; a kind that is not read yet is refused by its name."""
    ci = values.get("ci_config")
    kind = ci.get("fn_type") if isinstance(ci, dict) else values.get("ci_fn_type") or values.get("gate_type")
    if kind != "global_shared_transformer" or not isinstance(ci, dict):
        raise RankOneError(
            f"{where}: the importance function is '{kind}'; only 'global_shared_transformer' is imported yet."
        )
    if values.get("sigmoid_type", "leaky_hard") != "leaky_hard":
        raise RankOneError(
            f"{where}: sigmoid_type is '{values['sigmoid_type']}'; RankOne's importances are leaky_hard."
        )
    nested = ci.get("simple_transformer_ci_cfg")
    if not isinstance(nested, dict):
        raise RankOneError(
            f"{where}: ci_config.simple_transformer_ci_cfg is missing. Download the file again."
        )
    return PublishedTransformer.checked(nested, f"{where}: simple_transformer_ci_cfg").ours(where)


def _counts(values: Mapping[str, object], sites: list[Site], where: str) -> dict[str, int]:
    """C of every decomposed site, from `module_info` or, in older files, `target_module_patterns` and one C."""
    info, patterns = values.get("module_info"), values.get("target_module_patterns")
    if info is None and isinstance(patterns, list):
        info = [{"module_pattern": pattern, "C": values.get("C")} for pattern in patterns]
    counts: dict[str, int] = {}
    for entry in info if isinstance(info, list) else []:
        about = entry if isinstance(entry, dict) else {}
        pattern, count = about.get("module_pattern"), about.get("C")
        if not isinstance(pattern, str) or not isinstance(count, int) or count < 1:
            raise RankOneError(f"{where}: module_info {entry} needs a module_pattern and a C of at least 1.")
        hits = [site.name for site in sites if fnmatchcase(site.name, pattern)]
        if not hits:
            known = [site.name for site in sites]
            raise RankOneError(
                f"{where}: '{pattern}' matches no linear map in the target's blocks; RankOne decomposes only these."
                + nearest(pattern, known)
            )
        counts |= {name: count for name in hits if name not in counts}
    if not counts:
        raise RankOneError(f"{where}: names no decomposed modules (module_info). Download the file again.")
    return counts


def _factor_shapes(sites: Mapping[str, Site], counts: Mapping[str, int]) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for name, site in sites.items():
        shapes[f"_components.{site_key(name)}.V"] = (site.d_in, counts[name])
        shapes[f"_components.{site_key(name)}.U"] = (counts[name], site.d_out)
    return shapes


def _write_model(
    target: SimpleMLPForCausalLM,
    tokenizer: PreTrainedTokenizerBase | None,
    path: Path,
    provenance: Provenance,
) -> None:
    with new_artifact(path, "model", provenance) as staging:
        target.save_pretrained(staging)
        if tokenizer is not None:
            tokenizer.save_pretrained(staging)


def _name_special_tokens(target: SimpleMLPForCausalLM, tokenizer: PreTrainedTokenizerBase | None) -> None:
    if tokenizer is not None:
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            setattr(target.config, name, getattr(tokenizer, name))


def _provenance(files: RunFiles) -> dict[str, JsonValue]:
    """Names and hashes of the files read, and the published configurations whole."""
    present = [p for p in vars(files).values() if p is not None]
    configs = {p.name: read_yaml(p) for p in (files.config, files.model_config) if p is not None}
    return {
        "imported": {
            "files": {p.name: file_hash(p) for p in present},
            "configurations": json.loads(json.dumps(configs, default=str)),
        }
    }


def _account(
    target: SimpleMLPForCausalLM, decomposition: Decomposition | None, tokenizer: bool, out: Path
) -> Imported:
    counts, unexplained = {}, {}
    for site in [] if decomposition is None else find_sites(target, decomposition.sites):
        assert decomposition is not None
        read, write = decomposition.factors(site.name)
        weight = site_weight(site)
        counts[site.name] = write.shape[0]
        unexplained[site.name] = (
            delta_of(weight, read, write).square().sum() / weight.square().sum().clamp_min(1e-30)
        ).item()
    return Imported(
        model=out / "model",
        decomposition=None if decomposition is None else out / "decomposition",
        context=target.config.max_position_embeddings,
        tokenizer=tokenizer,
        counts=counts,
        unexplained=unexplained,
    )
