"""Routing: which sites are masked at each position of a stochastic row; the others run plain W there.

subset      a uniformly random subset of the sites at each position
all         every site
mixed       all or a subset, by a coin per row
layerwise   one site per row, as in the loss that masks one site at a time
"""

from __future__ import annotations

from collections.abc import Callable

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


def all_sites(batch: int, length: int, sites: int, generator: torch.Generator) -> Bool[Tensor, "b t sites"]:
    """Every site at every position."""
    return torch.ones(batch, length, sites, dtype=torch.bool, device=generator.device)


def all_or_subset(
    batch: int, length: int, sites: int, generator: torch.Generator
) -> Bool[Tensor, "b t sites"]:
    """Per row, by a fair coin, every site or a random subset at each position."""
    chosen = uniform_k_subset(batch, length, sites, generator)
    coin = torch.rand(batch, 1, 1, generator=generator, device=generator.device)
    return (coin < 0.5) | chosen


def one_site(batch: int, length: int, sites: int, generator: torch.Generator) -> Bool[Tensor, "b t sites"]:
    """Per row one uniformly random site, at every position."""
    device = generator.device
    chosen = torch.randint(sites, (batch, 1, 1), generator=generator, device=device)
    return (torch.arange(sites, device=device) == chosen).expand(batch, length, sites)


ROUTINGS: dict[str, Callable[[int, int, int, torch.Generator], Bool[Tensor, "b t sites"]]] = {
    "subset": uniform_k_subset,
    "all": all_sites,
    "mixed": all_or_subset,
    "layerwise": one_site,
}
