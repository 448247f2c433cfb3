"""What masks are made of: m = g + (1 − g) r from importance logits and sources, kept as parts until a site needs them.

A mask of all subcomponents at all positions is the largest tensor of a step. The parts (logits, one byte of noise, or
the adversary's source) say the same in less memory; `fused_site` reads them where the mask is used and forms none.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from rankone.decomposition.masking.squash import wide


class MaskParts(NamedTuple):
    """Importance logits and sources r of one site, over slots: rows, or parts of a row with sources of their own.

    logits: [S, T, C]. Slots that are `adversarial` take r from `source` (size 1 broadcasts), the others from `noise` as
    (noise + ½)/256, or, given a `level`, as 1 where that is below the level and 0 elsewhere. Where all slots are
    adversarial there is no noise, where none is there is no source. `search` asks for no gradient of V and U.

    `to_logits` and `to_source`, shaped as logits and source, are where a backward adds their gradients, in place of
    handing them to autograd: as parts of a tensor over all sites, which autograd would have to join and copy. Without
    them nobody asks. What else needs a gradient (V, U, delta's mask) makes sure that the backward runs.
    """

    logits: Float[Tensor, "s t c"]
    noise: UInt8[Tensor, "s t c"] | None
    source: Float[Tensor, "ss st c"] | None
    adversarial: Bool[Tensor, "s 1 1"]
    level: Float[Tensor, "s 1 1"] | None = None
    search: bool = False
    to_logits: Float[Tensor, "s t c"] | None = None
    to_source: Float[Tensor, "ss st c"] | None = None


def sources(
    noise: Tensor | None, source: Tensor | None, adversarial: Tensor, level: Tensor | None
) -> Float[Tensor, "s t c"]:
    """r of every slot, in fp32 (fp64 from a source in fp64)."""
    if noise is None:
        assert source is not None
        return wide(source)
    byte = noise.float() + 0.5
    drawn = byte / 256 if level is None else (byte < 256 * level).float()
    return drawn if source is None else torch.where(adversarial, source, drawn)


def draw_noise(shape: tuple[int, ...], generator: torch.Generator) -> UInt8[Tensor, ...]:
    """Uniform bytes; seven per 64-bit draw, since one draw per element costs more than the masked forward's masks."""
    count = 1
    for size in shape:
        count *= size
    words = torch.empty((count + 6) // 7, dtype=torch.int64, device=generator.device).random_(
        generator=generator
    )
    # random_() on int64 leaves the sign bit 0, so the top byte is not uniform.
    return words.view(torch.uint8).view(-1, 8)[:, :7].reshape(-1)[:count].view(shape)
