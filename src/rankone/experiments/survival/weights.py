"""Attacks on the weights alone: rounding to few bits."""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.models.sites import find_sites, weight_of

# Weights that share a scale, along a row.
GROUP = 32


def rounded(weight: Float[Tensor, "d_out d_in"], bits: int, group: int) -> Float[Tensor, "d_out d_in"]:
    """Round to nearest on a symmetric grid of 2^bits − 1 levels, `group` neighbours of a row sharing a scale; fp32."""
    levels = 2 ** (bits - 1) - 1
    rows, width = weight.shape
    padded = torch.nn.functional.pad(weight.float(), (0, -width % group)).view(rows, -1, group)
    scale = padded.abs().amax(-1, keepdim=True).clamp_min(1e-12) / levels
    return ((padded / scale).round().clamp(-levels, levels) * scale).view(rows, -1)[:, :width]


@torch.no_grad()
def quantised(model: PreTrainedModel, bits: int) -> PreTrainedModel:
    """A copy with every site's weight rounded: by rows at 8 bits, in groups of 32 at fewer. Embeddings stay."""
    made = copy.deepcopy(model)
    for site in find_sites(made, ["*"]):
        weight = weight_of(site)
        weight.copy_(rounded(weight, bits, site.d_in if bits >= 8 else GROUP))
    return made
