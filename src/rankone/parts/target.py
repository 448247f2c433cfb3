"""Which model parts belong to: the hashes of the weights they were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.core.tensors import tensor_hash
from rankone.models.sites import Site, find_sites, weight_of


def target_entry(target: PreTrainedModel, sites: Sequence[str]) -> dict[str, object]:
    """What an artefact notes of its target: `name`, and `weights`, the hash of each site's weight."""
    weights = {site.name: weight_hash(site) for site in find_sites(target, sites)}
    return {"name": Path(str(target.name_or_path)).name, "weights": weights}


def require_target(target: PreTrainedModel, name: str, weights: Mapping[str, str], path: Path | str) -> None:
    """Raise RankOneError unless the target has all sites of `weights`, with the weights that were hashed.

    name: what the target was called then; path: the artefact that says so.
    """
    known = {site.name: site for site in find_sites(target, None)}
    called = f", which was called '{name}'" if name else ""
    mend = f"Give the model it was made from{called}, as --model DIR; this one is '{target.name_or_path}'."
    for site, digest in weights.items():
        if site not in known:
            raise RankOneError(
                f"'{path}' has parts of '{site}', which this model lacks: it is another model's. {mend}"
            )
        if weight_hash(known[site]) != digest:
            if target.dtype != torch.float32:
                mend += f" Or open it in float32: in {str(target.dtype).partition('.')[2]} its weights may be rounded."
            raise RankOneError(f"'{path}' was made from other weights of '{site}'. {mend}")


def weight_hash(site: Site) -> str:
    """Hash of the weight in fp32, so that a bf16 load and its fp32 copy agree."""
    return tensor_hash(weight_of(site).detach().float())
