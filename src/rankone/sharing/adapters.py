"""A LoRA by folder, Hub id or address: an artefact of RankOne, or what PEFT itself sent there."""

from __future__ import annotations

from pathlib import Path

from rankone.core.errors import RankOneError
from rankone.core.manifest import MANIFEST
from rankone.runtime import hub
from rankone.sharing.fetching import NoArtefact, local
from rankone.sharing.names import Remote, remote

# What PEFT writes; pickles (.bin) are not brought.
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def local_adapter(name: Path) -> Path:
    """The folder of an adapter or of an edit: a path as it is; what is on the Hub from the cache, or else brought there.

    RankOneError as of `local`, and for a repository that holds neither an artefact nor a LoRA as safetensors.
    """
    where = remote(name)
    if where is None:
        return Path(name)
    cached = _cached(where)
    if cached is not None:
        return cached
    try:
        return local(name)
    except NoArtefact:
        return _brought(where)


def _cached(where: Remote) -> Path | None:
    """The snapshot in the cache that holds a LoRA of PEFT's whole, and no artefact."""
    from huggingface_hub import try_to_load_from_cache

    config, weights, manifest = (
        try_to_load_from_cache(where.repo, where.inside(file), revision=where.revision)
        for file in (CONFIG, WEIGHTS, MANIFEST)
    )
    if isinstance(config, str) and isinstance(weights, str) and not isinstance(manifest, str):
        return Path(config).parent
    return None


def _brought(where: Remote) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    from rankone.sharing.answers import asking

    if not hub.reachable():
        raise RankOneError(f"the Hub cannot be reached, so '{where}' was not brought. Check the network.")
    with asking(where):
        try:
            config, _ = (
                hf_hub_download(
                    where.repo, where.inside(f), revision=where.revision, endpoint=constants.ENDPOINT
                )
                for f in (CONFIG, WEIGHTS)
            )
        except EntryNotFoundError:
            raise RankOneError(
                f"'{where}' holds neither a RankOne artefact nor a LoRA as PEFT saves it ({CONFIG}, {WEIGHTS}). "
                "Check the name."
            ) from None
    return Path(config).parent
