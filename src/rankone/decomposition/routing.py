"""Subset routing: at each position a uniformly random subset of the sites is masked, the others run plain W."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor


def uniform_k_subset(
    batch: int, length: int, sites: int, generator: torch.Generator
) -> Bool[Tensor, "b t sites"]:
    """Per position k ~ Uniform{1..sites}, then a uniformly random k-subset."""
    device = generator.device
    k = torch.randint(1, sites + 1, (batch, length, 1), generator=generator, device=device)
    ranks = torch.rand(batch, length, sites, generator=generator, device=device).argsort(-1).argsort(-1)
    return ranks < k
