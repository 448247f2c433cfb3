"""Parts on disk: an artefact of kind `parts` with one or more sets, each of one origin, in fp32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from pydantic import JsonValue
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.artifact import new_artifact, open_artifact, write_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.tensors import read_tensors, save_tensors
from rankone.parts.parts import Parts, site_key
from rankone.parts.target import require_target, target_entry

KIND = "parts"
TENSORS = "tensors.safetensors"


class _Set(Config):
    origin: str
    sites: list[str]
    made: dict[str, JsonValue]


class _Target(Config):
    name: str
    weights: dict[str, str]


class _File(Config):
    sets: list[_Set]
    target: _Target


def save_parts(
    sets: Sequence[Parts],
    target: PreTrainedModel,
    path: Path | str,
    provenance: Mapping[str, object] | None = None,
) -> Path:
    """Write sets of parts of `target` as an artefact; RankOneError where two have one origin, or there is none."""
    origins = [own.origin for own in sets]
    if not sets or len(set(origins)) < len(origins):
        raise RankOneError(f"parts to save must be of different origins, at least one; given {origins}.")
    sites = list(dict.fromkeys(site for own in sets for site in own.sites))
    entries = [{"origin": own.origin, "sites": own.sites, "made": own.made} for own in sets]
    config = {"sets": entries, "target": target_entry(target, sites)}
    tensors = {key: value for own in sets for key, value in _tensors(own).items()}
    with new_artifact(path, KIND, dict(provenance or {})) as staging:
        save_tensors(staging / TENSORS, tensors)
        write_json(staging / "config.json", config)
    return Path(path)


def load_parts(path: Path | str, target: PreTrainedModel) -> list[Parts]:
    """The sets of a saved artefact on the target's device; RankOneError where it was altered or is another model's."""
    artifact = open_artifact(path, KIND)
    config = _File.checked(artifact.json(), str(artifact.path / "config.json"))
    require_target(target, config.target.name, config.target.weights, artifact.path)
    tensors = read_tensors(artifact.path / TENSORS)
    return [_read(own, tensors, target.device) for own in config.sets]


def _key(what: str, origin: str, site: str) -> str:
    return f"{what}.{origin}.{site_key(site)}"


def _tensors(own: Parts) -> dict[str, Tensor]:
    found = {}
    for site in own.sites:
        read, write = own.factors(site)
        values = (("V", read.float()), ("U", write.float()), ("indices", own.indices[site]))
        found |= {_key(what, own.origin, site): value for what, value in values}
    return found


def _read(own: _Set, tensors: Mapping[str, Tensor], device: torch.device) -> Parts:
    def of(what: str, site: str) -> Tensor:
        return tensors[_key(what, own.origin, site)]

    factors = {s: (of("V", s).to(device), of("U", s).to(device)) for s in own.sites}
    return Parts(factors, own.origin, {s: of("indices", s) for s in own.sites}, own.made).frozen()
