"""How alike the latents of two dictionaries are: across seeds, and how many small ones a larger one splits.

What a latent writes to its own layer is compared, by |cosine|.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.circuits.transcoders.records import Alike
from rankone.decomposition.stability import MATCH, one_to_one


def alike(
    first: Sequence[Float[Tensor, "n d"]], second: Sequence[Float[Tensor, "m d"]], names: tuple[str, str]
) -> Alike:
    """Means over layers of what two dictionaries share.

    mmcs: each latent's largest cosine with any of the second set. matched: the mean cosine of the best one-to-one matching.
    chance: mmcs with as many random directions as the second has. split: share of the first with several matches in it.
    """
    best, matched, chance, split = [], [], [], []
    for a, b in zip(first, second, strict=True):
        cosine = _cosine(a, b)
        best.append(float(cosine.max(1).values.mean()))
        matched.append(float(one_to_one(cosine).mean()))
        random = torch.randn(b.shape, generator=torch.Generator().manual_seed(0)).to(a)
        chance.append(float(_cosine(a, random).max(1).values.mean()))
        split.append(float(((cosine > MATCH).sum(1) > 1).float().mean()))
    mean = [sum(values) / len(values) for values in (best, matched, chance, split)]
    return Alike(
        first=names[0], second=names[1], mmcs=mean[0], matched=mean[1], chance=mean[2], split=mean[3]
    )


def _cosine(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    unit = [
        side.detach().float() / side.detach().float().norm(dim=1, keepdim=True).clamp_min(1e-12)
        for side in (a, b)
    ]
    return (unit[0] @ unit[1].T).abs()
