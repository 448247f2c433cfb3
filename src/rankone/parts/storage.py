"""Parts on disk: an artefact of kind `parts` with one or more sets, each of one origin, in fp32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from pydantic import JsonValue
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.artifact import new_artifact, open_artifact, write_json
from rankone.core.errors import RankOneError
from rankone.core.reading import reading
from rankone.core.tensors import read_tensors, save_tensors
from rankone.parts.naming import numbers_key, site_key
from rankone.parts.origins import SavedParts, SavedSet
from rankone.parts.target import require_target, target_entry

KIND = "parts"
TENSORS = "tensors.safetensors"


class PartSet(Protocol):
    """What is written: read [d_in, C] and write [C, d_out] factors per site, and the numbers of the columns."""

    sites: list[str]
    origin: str
    made: dict[str, object]
    indices: dict[str, Tensor]

    def factors(self, site: str) -> tuple[Tensor, Tensor]:
        """(V [d_in, C], U [C, d_out]) of a site."""
        ...


class ReadSet(NamedTuple):
    """One set as it was read."""

    factors: dict[str, tuple[Tensor, Tensor]]
    origin: str
    indices: dict[str, Tensor]
    made: dict[str, JsonValue]


def save_parts(
    sets: Sequence[PartSet],
    target: PreTrainedModel,
    path: Path | str,
    provenance: Mapping[str, object] | None = None,
) -> Path:
    """Write sets of parts of `target` as an artefact; RankOneError where two have one origin, or there is none."""
    origins = [one.origin for one in sets]
    if not sets or len(set(origins)) < len(origins):
        raise RankOneError(f"parts to save must be of different origins, at least one; given {origins}.")
    sites = list(dict.fromkeys(site for one in sets for site in one.sites))
    entries = [{"origin": one.origin, "sites": one.sites, "made": one.made} for one in sets]
    config = {"sets": entries, "target": target_entry(target, sites)}
    tensors = {key: value for one in sets for key, value in _tensors(one).items()}
    with new_artifact(path, KIND, dict(provenance or {})) as staging:
        save_tensors(staging / TENSORS, tensors)
        write_json(staging / "config.json", config)
    return Path(path)


def read_parts(path: Path | str, target: PreTrainedModel) -> list[ReadSet]:
    """The sets of a saved artefact on the target's device; RankOneError where it was altered or is another model's."""
    artifact = open_artifact(path, KIND)
    config = SavedParts.checked(artifact.json(), str(artifact.path / "config.json"))
    require_target(target, config.target.name, config.target.weights, artifact.path)
    tensors = read_tensors(artifact.path / TENSORS)
    with reading(artifact.path):
        return [_read(one, tensors, target.device) for one in config.sets]


def _key(what: str, origin: str, site: str) -> str:
    return f"{what}.{origin}.{site_key(site)}"


def _tensors(parts: PartSet) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for site in parts.sites:
        read, write = parts.factors(site)
        values = (("V", read.float()), ("U", write.float()))
        tensors |= {_key(what, parts.origin, site): value for what, value in values}
        tensors[numbers_key(site, parts.origin)] = parts.indices[site]
    return tensors


def _read(entry: SavedSet, tensors: Mapping[str, Tensor], device: torch.device) -> ReadSet:
    def of(what: str, site: str) -> Tensor:
        return tensors[_key(what, entry.origin, site)]

    factors = {s: (of("V", s).to(device), of("U", s).to(device)) for s in entry.sites}
    numbers = {s: tensors[numbers_key(s, entry.origin)].to(device) for s in entry.sites}
    return ReadSet(factors, entry.origin, numbers, entry.made)
