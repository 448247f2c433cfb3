"""A part made to write something else: W' = W + (w − u) vᵀ, w a token's direction of some size, or trained.

After "Adversarial Parameter Decomposition", model editing: u is replaced by ±α û, û the token's direction and the sign that
of v·x where the part fires. Sizes are in units of ‖u‖, so that they do not depend on how u and v share their length.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.edits.lowrank import LowRankEdit
from rankone.edits.rewriting.firing import Firing
from rankone.edits.rewriting.requests import WriteEffect
from rankone.metrics.kl import kl_per_position
from rankone.models.output import output_of
from rankone.parts.book import Named

_ROWS = 8


def rewritten(parts: Named, name: str, write: Float[Tensor, " d_out"], description: str) -> LowRankEdit:
    """The edit that lets a part write `write` where it wrote u."""
    site, _ = parts.locate(name)
    read, old = parts.vectors(name)
    return LowRankEdit({site: ((write.to(old) - old)[:, None], read[None])}, description, "write vector")


def sized(
    parts: Named, name: str, direction: Float[Tensor, " d_out"], sign: int, size: float
) -> Float[Tensor, " d_out"]:
    """sign · size · ‖u‖ · û."""
    return sign * size * parts.vectors(name).u.norm() * direction.to(parts.vectors(name).u)


@torch.no_grad()
def base_logits(model: PreTrainedModel, places: Firing) -> list[Float[Tensor, "rows length vocab"]]:
    """Logits of the text as the model is, in batches, on its device."""
    return [output_of(model, ids) for ids in places.text.ids.split(_ROWS)]


@torch.no_grad()
def effect(
    model: PreTrainedModel,
    edit: LowRankEdit,
    places: Firing,
    base: Sequence[Float[Tensor, "rows length vocab"]],
    tokens: Int[Tensor, " k"],
    size: float | None,
) -> WriteEffect:
    """Probability of the tokens (summed) where the part fires, and KL(base ‖ edited) near by and elsewhere."""
    chances, divergences = [], []
    with edit.applied(model):
        for ids, before in zip(places.text.ids.split(_ROWS), base, strict=True):
            after = output_of(model, ids)
            chances.append(after.float().softmax(-1)[..., tokens].sum(-1))
            divergences.append(kl_per_position(before, after))
    chance, divergence = torch.cat(chances), torch.cat(divergences)
    return WriteEffect(
        size=size,
        probability=float(chance[places.fires].mean()),
        kl_firing=float(divergence[places.fires].mean()),
        kl_near=_mean(divergence[places.near]),
        kl_other=_mean(divergence[places.other]),
    )


def _mean(values: Tensor) -> float | None:
    return float(values.mean()) if values.numel() else None


@torch.no_grad()
def probability(
    base: Sequence[Float[Tensor, "rows length vocab"]], places: Firing, tokens: Int[Tensor, " k"]
) -> float:
    """Probability of the tokens where the part fires, as the model is."""
    chance = torch.cat([logits.float().softmax(-1)[..., tokens].sum(-1) for logits in base])
    return float(chance[places.fires].mean())
