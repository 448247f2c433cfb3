"""A sparse autoencoder of what one site writes, trained and read by EleutherAI's `sparsify` (extra `sae`).

Its folder is `sparsify`'s own: DIR/SITE/cfg.json and sae.safetensors. Encoder, TopK, decoder, loss (share of variance not
explained, and the auxiliary one of dead latents) are the library's; its trainer reads a data set with a model of its own and
sets global state, so the loop stands here.
"""

# sparsify has no types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.core.optional import optional
from rankone.models.output import run_blocks
from rankone.models.sites import Site, find_sites, site_named
from rankone.runtime.seeding import seeded
from rankone.text.blocks import Blocks

if TYPE_CHECKING:
    from sparsify import SparseCoder

ROWS_AT_ONCE = 8
AUXILIARY = 1 / 32
"""Weight of the loss of dead latents; that of Gao et al. 2024."""
DEAD = 200_000
"""Tokens after which a latent that did not fire counts as dead."""


class Coder(NamedTuple):
    """A sparse coder, and the site whose output it codes."""

    site: Site
    coder: SparseCoder

    @property
    def directions(self) -> Float[Tensor, "latents d_out"]:
        """What every latent writes."""
        assert self.coder.W_dec is not None  # only of a coder that was loaded without one
        return self.coder.W_dec


def read_coder(folder: Path, model: PreTrainedModel) -> Coder:
    """The coder of a folder; RankOneError where it has none, several, or one of no site of the model."""
    sparsify = optional("sparsify", "sae", "edits by a sparse autoencoder")
    folders = sorted(file.parent for file in folder.rglob("cfg.json"))
    if len(folders) != 1:
        raise RankOneError(
            f"'{folder}' holds {len(folders)} sparse coders (SITE/cfg.json): one is wanted, as perf.sparse_coder makes."
        )
    name = folders[0].relative_to(folder).as_posix()
    known = [site.name for site in find_sites(model, ["*"])]
    if name not in known:
        raise RankOneError(
            f"the sparse coder of '{folder}' is of '{name}', which is not a site of this model."
        )
    coder = sparsify.SparseCoder.load_from_disk(folders[0], device="cpu").to(model.device)
    return Coder(site_named(model, name), coder.requires_grad_(False))


def new_coder(width: int, latents: int, active: int, seed: int) -> SparseCoder:
    """An untrained coder of `latents` latents, `active` of which fire at a position."""
    sparsify = optional("sparsify", "sae", "edits by a sparse autoencoder")
    with seeded(seed):
        return sparsify.SparseCoder(width, sparsify.SparseCoderConfig(num_latents=latents, k=active))


def train_coder(coder: SparseCoder, batches: Iterable[Float[Tensor, "n d"]], rate: float) -> Iterable[float]:
    """Train on batches of a site's outputs, each once, with Adam; yields the share of variance not explained of each."""
    if coder.device.type == "cpu":
        _decode_by_pytorch(coder)
    adam = torch.optim.Adam(coder.parameters(), lr=rate)
    silent = torch.zeros(coder.num_latents)
    for number, batch in enumerate(batches):
        if number == 0:
            coder.b_dec.data = batch.mean(0)
        out = coder(batch, dead_mask=silent > DEAD)
        (out.fvu + AUXILIARY * out.auxk_loss).backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        adam.step()
        adam.zero_grad()
        coder.set_decoder_norm_to_unit_norm()
        silent += len(batch)
        silent[out.latent_indices.flatten().unique()] = 0
        yield float(out.fvu.detach())


def _decode_by_pytorch(coder: SparseCoder) -> None:
    """Where Triton is installed, as beside torch's CUDA build, the library decodes by it, and that needs a GPU."""
    eager: Callable[[Tensor, Tensor, Tensor], Tensor] = optional(
        "sparsify.utils", "sae", "a sparse autoencoder's training"
    ).eager_decode

    def decode(top_acts: Tensor, top_indices: Tensor) -> Tensor:
        assert coder.W_dec is not None
        return eager(top_indices, top_acts.to(coder.dtype), coder.W_dec.mT) + coder.b_dec

    coder.decode = decode


def site_outputs(
    model: PreTrainedModel, site: Site, ids: Tensor, present: Bool[Tensor, "rows t"] | None = None
) -> Float[Tensor, "n d_out"]:
    """What a site writes at the counted positions of some rows (None: all), without bias."""
    seen: list[Tensor] = []

    def keep(module: nn.Module, given: object, gave: Tensor) -> None:
        del module, given
        seen.append(gave)

    with site.module.register_forward_hook(keep), torch.no_grad():
        run_blocks(model, ids)
    return seen[0].flatten(0, -2) if present is None else seen[0][present]


def mean_activations(
    model: PreTrainedModel, coder: Coder, texts: Mapping[str, Blocks]
) -> Float[Tensor, "domains latents"]:
    """The mean activation of every latent on each text."""
    means = []
    for text in texts.values():
        total = torch.zeros(coder.coder.num_latents, device=model.device)
        for rows in text.split(ROWS_AT_ONCE, model.device):
            top = coder.coder.encode(site_outputs(model, coder.site, rows.ids, rows.present))
            total.index_add_(0, top.top_indices.flatten(), top.top_acts.detach().flatten())
        means.append(total / int(text.present.sum()))
    return torch.stack(means)
