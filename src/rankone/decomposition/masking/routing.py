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

from rankone.decomposition.masking.numbers import Numbers


def uniform_k_subset(numbers: Numbers, length: int, sites: int) -> Bool[Tensor, "b t sites"]:
    """Per position k ~ Uniform{1..sites}, then a uniformly random k-subset."""
    k = numbers.integers(1, sites + 1, length, 1)
    ranks = numbers.uniform(length, sites).argsort(-1).argsort(-1)
    return ranks < k


def all_sites(numbers: Numbers, length: int, sites: int) -> Bool[Tensor, "b t sites"]:
    """Every site at every position."""
    return torch.ones(numbers.rows, length, sites, dtype=torch.bool, device=numbers.device)


def all_or_subset(numbers: Numbers, length: int, sites: int) -> Bool[Tensor, "b t sites"]:
    """Per row, by a fair coin, every site or a random subset at each position."""
    chosen = uniform_k_subset(numbers, length, sites)
    return (numbers.uniform(1, 1) < 0.5) | chosen


def one_site(numbers: Numbers, length: int, sites: int) -> Bool[Tensor, "b t sites"]:
    """Per row one uniformly random site, at every position."""
    chosen = numbers.integers(0, sites, 1, 1)
    return (torch.arange(sites, device=numbers.device) == chosen).expand(-1, length, -1)


ROUTINGS: dict[str, Callable[[Numbers, int, int], Bool[Tensor, "b t sites"]]] = {
    "subset": uniform_k_subset,
    "all": all_sites,
    "mixed": all_or_subset,
    "layerwise": one_site,
}
