"""Runs of a stack in shares whose rows are about as long: what rows are filled up with is not computed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from jaxtyping import Bool, Int
from torch import Tensor

# What a forward costs beside its positions, in positions.
FORWARD = 64


def widths(scored: Bool[Tensor, "own rows t"]) -> list[int]:
    """Of each run the positions up to the last one that is scored, at least 1; later ones are seen by none of these."""
    places = torch.arange(1, scored.shape[-1] + 1, device=scored.device)
    return (scored * places).amax((1, 2)).clamp_min(1).tolist()


def by_width(scored: Bool[Tensor, "rows t"]) -> Int[Tensor, " rows"]:
    """The rows in the order of their widths, so that those computed together end at about the same position."""
    return torch.tensor(widths(scored.unsqueeze(1)), device=scored.device).argsort()


def shares(lengths: Sequence[int], rows: int = 1) -> list[int]:
    """How many runs, in their order, are computed together, so that least is computed in all; each has so many rows."""
    costs, starts = [0], [0]
    for stop in range(1, len(lengths) + 1):
        longest = list(accumulate(reversed(lengths[:stop]), max))
        cost, start = min(
            (costs[start] + FORWARD + rows * longest[stop - start - 1] * (stop - start), start)
            for start in range(stop)
        )
        costs.append(cost)
        starts.append(start)
    sizes, stop = list[int](), len(lengths)
    while stop:
        sizes.append(stop - starts[stop])
        stop = starts[stop]
    return sizes[::-1]
