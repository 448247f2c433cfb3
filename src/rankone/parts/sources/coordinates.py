"""The raw basis of a site: the neurons of an MLP, the channels of attention heads, one part per hidden coordinate.

Coordinate i of what lies inside a block between two matrices. Where the site writes from it (down_proj, o_proj) the part
is u = W[:, i], v = e_i; where the site writes to it (up, gate, query, key, value) it is u = e_i, v = W[i]. Together the
parts of a site are its weight, exactly.
"""

from __future__ import annotations

import torch

from rankone.core.errors import RankOneError
from rankone.models.anatomy import in_attention, reads_hidden
from rankone.models.sites import Site
from rankone.parts.sources.material import Made, Material


def in_mlp(site: Site) -> bool:
    """Whether the coordinates of a site are neurons."""
    return not in_attention(site.name)


def in_heads(site: Site) -> bool:
    """Whether the coordinates of a site are channels of attention heads."""
    return in_attention(site.name)


def coordinates(material: Material) -> Made:
    """The hidden coordinates of a site, or those of `material.numbers`; RankOneError for a number it does not have."""
    site, weight = material.site, material.weight
    inputs = reads_hidden(site.name, site.d_out, site.d_in)
    size = site.d_in if inputs else site.d_out
    numbers = (
        torch.arange(size) if material.numbers is None else torch.tensor(material.numbers, dtype=torch.long)
    )
    beyond = numbers[(numbers < 0) | (numbers >= size)]
    if len(beyond):
        raise RankOneError(
            f"'{site.name}' has no coordinate {int(beyond[0])}: it has {size}, from 0 to {size - 1}."
        )
    one_hot = weight.new_zeros(len(numbers), size)
    one_hot[torch.arange(len(numbers)), numbers] = 1
    dense = weight.T[numbers] if inputs else weight[numbers]
    read, write = (one_hot, dense) if inputs else (dense, one_hot)
    return Made((read.T.contiguous(), write.contiguous()), numbers)
