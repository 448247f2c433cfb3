"""Where a part fires on some text, what is near, and what is neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.models.output import run_blocks
from rankone.models.sites import site_named
from rankone.text.blocks import Blocks

# Positions on each side of a firing that count as near (method.md, "Model editing").
NEAR = 20


@dataclass(frozen=True)
class Firing:
    """Rows of text with v·x at each position. sign: that of v·x where the part fires; fires, near, other: apart."""

    text: Blocks
    activation: Float[Tensor, "rows length"]
    sign: int
    fires: Bool[Tensor, "rows length"]
    near: Bool[Tensor, "rows length"]
    other: Bool[Tensor, "rows length"]


def joined(text: Sequence[Blocks]) -> Blocks:
    """Several texts as one, rows padded to the longest."""
    longest = max(blocks.ids.shape[1] for blocks in text)

    def wide(values: Tensor) -> Tensor:
        return nn.functional.pad(values, (0, longest - values.shape[1]))

    ids = torch.cat([wide(blocks.ids) for blocks in text])
    return Blocks(ids, torch.cat([wide(blocks.valid) for blocks in text]))


@torch.no_grad()
def activations(
    model: PreTrainedModel, site: str, read: Float[Tensor, " d_in"], text: Blocks
) -> Float[Tensor, "rows length"]:
    """v·x of one part at every position."""
    kept: list[Tensor] = []

    def hook(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
        kept.append(given[0].float() @ read.to(given[0].device).float())

    with site_named(model, site).module.register_forward_pre_hook(hook):
        for ids in text.ids.split(16):
            run_blocks(model, ids)
    return torch.cat([one.reshape(-1, text.ids.shape[1]) for one in kept])


def firing(
    model: PreTrainedModel,
    site: str,
    read: Float[Tensor, " d_in"],
    text: Blocks,
    share: float,
    threshold: tuple[int, float] | None = None,
) -> Firing:
    """Where a part fires: the `share` of text positions with the largest |v·x|, of the sign that most of them have.

    threshold: sign and least sign · v·x, taken over from other text. RankOneError where it fires nowhere.
    """
    values = activations(model, site, read, text)
    counted = text.valid
    sign, least = threshold or _threshold(values[counted], share)
    fires = counted & (sign * values >= least)
    if not fires.any():
        raise RankOneError(
            "the part fires nowhere on this text: read more of it (--tokens), or other text (--text)."
        )
    wide = nn.functional.max_pool1d(fires.float(), 2 * NEAR + 1, 1, NEAR) > 0
    near = counted & wide & ~fires
    return Firing(text, values, sign, fires, near, counted & ~wide)


def _threshold(values: Float[Tensor, " n"], share: float) -> tuple[int, float]:
    count = max(1, round(share * values.numel()))
    largest = values[values.abs().topk(count).indices]
    sign = 1 if float(largest.sum()) >= 0 else -1
    return sign, float((sign * largest).clamp_min(0).topk(max(1, int((sign * largest > 0).sum()))).values[-1])


def threshold_of(places: Firing) -> tuple[int, float]:
    """Sign and least sign · v·x of where a part fires, for other text."""
    return places.sign, float((places.sign * places.activation[places.fires]).min())
