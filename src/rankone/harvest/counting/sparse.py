"""Sums over what fires, in whole numbers, so that they do not depend on the order of adding.

Everything is counted in int64. Real numbers are counted in units of 1/UNITS: two shards add up to exactly what one
run would have counted, and a resumed run to what an uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

UNITS = 1 << 24
# Bins of one scatter: they should stay in the processor's cache. On a GPU this does not matter.
BINS = 1 << 18
# Terms laid out at once.
TERMS = 1 << 18


def units(values: Float[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Real numbers as the nearest multiples of 1/UNITS."""
    return (values.double() * UNITS).round().long()


def ragged(
    first: Int[Tensor, " n"], length: Int[Tensor, " n"]
) -> tuple[Int[Tensor, " total"], Int[Tensor, " total"]]:
    """(owner, index): for each n, the numbers first[n] … first[n] + length[n] − 1, and n beside each of them."""
    owner = torch.repeat_interleave(length)
    skipped = first - (length.cumsum(0) - length)
    return owner, torch.arange(len(owner), device=first.device).add_(skipped.index_select(0, owner))


def cuts(length: Int[Tensor, " n"], terms: int = TERMS) -> Iterator[slice]:
    """Slices of n whose lengths add up to about `terms` each."""
    if not len(length):
        return
    turn = (length.cumsum(0) - length) // terms
    counts = torch.unique_consecutive(turn, return_counts=True)[1].tolist()
    start = 0
    for count in counts:
        yield slice(start, start + count)
        start += count


@dataclass(frozen=True)
class Lists:
    """For each position a short list of (column, weight): entries first[p] … first[p] + length[p] − 1."""

    first: Int[Tensor, " positions"]
    length: Int[Tensor, " positions"]
    column: Int[Tensor, " entries"]
    weight: Int[Tensor, " entries"]


def tally(
    part: Int[Tensor, " firings"], position: Int[Tensor, " firings"], lists: Lists
) -> Iterator[tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]]:
    """(part, column, weight) with the lists' weights summed over the positions where a part fires.

    `part` must be sorted; so is what is yielded, in pieces. Only sums that are not zero appear.
    """
    columns, column = lists.column.unique(return_inverse=True)
    rows, row = part.unique_consecutive(return_inverse=True)
    stripe = max(1, BINS // max(len(columns), 1))
    edges = torch.arange(0, len(rows) + stripe, stripe, device=row.device)
    ends = torch.searchsorted(row, edges).tolist()
    for low, start, stop in zip(edges.tolist(), ends[:-1], ends[1:], strict=False):
        sums = torch.zeros(stripe * len(columns), dtype=torch.long, device=row.device)
        cell, at = (row[start:stop] - low) * len(columns), position[start:stop]
        first, length = lists.first.index_select(0, at), lists.length.index_select(0, at)
        for piece in cuts(length):
            owner, entry = ragged(first[piece], length[piece])
            place = cell[piece].index_select(0, owner).add_(column.index_select(0, entry))
            sums.scatter_add_(0, place, lists.weight.index_select(0, entry))
        filled = sums.nonzero().squeeze(1)
        if len(filled):
            owner = filled.div(len(columns), rounding_mode="floor")
            token = columns.index_select(0, filled - owner * len(columns))
            yield rows.index_select(0, owner + low), token, sums.index_select(0, filled)
