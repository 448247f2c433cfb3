"""The files of a saved edit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rankone.core.artifact import Provenance, new_artifact, open_artifact, write_json
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.tensors import save_tensors, unmapped
from rankone.edits.lowrank.factors import Factors, expect_shape

KIND = "edit"
TENSORS = "tensors.safetensors"


class SiteEntry(Config):
    """Sizes of one site's change and the hash of the weight it was made for."""

    d_out: int
    d_in: int
    rank: int
    base_hash: str


class EditFile(Config):
    """`config.json` of an edit."""

    description: str
    method: str
    sites: dict[str, SiteEntry]


class SavedEdit(NamedTuple):
    """A saved edit: its record, the factors of each site, and how it was made."""

    config: EditFile
    factors: dict[str, Factors]
    provenance: Provenance


def write_edit(
    path: Path,
    config: EditFile,
    factors: Mapping[str, Factors],
    provenance: Provenance | None,
    replace: bool = False,
) -> None:
    """Write the artefact of kind 'edit'."""
    tensors = {f"{n}.{part}": t for n, f in factors.items() for part, t in f._asdict().items()}
    with new_artifact(path, KIND, provenance, replace) as staging:
        save_tensors(staging / TENSORS, tensors)
        write_json(staging / "config.json", config.model_dump())


def read_edit(path: Path | str) -> SavedEdit:
    """Read a saved edit; RankOneError when a file was altered or its parts do not fit together."""
    artifact = open_artifact(path, KIND)
    where = str(artifact.path / "config.json")
    config = EditFile.checked(artifact.json(), where)
    tensors = unmapped(artifact.tensors(TENSORS))
    expected = {f"{name}.{part}" for name in config.sites for part in Factors._fields}
    if expected != tensors.keys():
        raise RankOneError(
            f"{where} and {TENSORS} name different sites: {sorted(expected ^ tensors.keys())[0]}."
        )
    factors = {n: Factors(tensors[f"{n}.write"], tensors[f"{n}.read"]) for n in config.sites}
    for name, entry in config.sites.items():
        expect_shape(name, factors[name], entry.d_out, entry.d_in)
        if factors[name].read.shape[0] != entry.rank:
            raise RankOneError(f"{where} gives rank {entry.rank} for '{name}', but {TENSORS} another.")
    return SavedEdit(config, factors, artifact.provenance)
