"""How often two parts fire at the same position, without a table of all pairs.

Among parts that fire often in a stretch of text, pairs are counted by one matrix product; a pair with a rare
one is counted where it occurs. Both are done for a stripe of rows of the table at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from rankone.harvest.counting.sparse import TERMS, cuts, ragged

STRIPE = 1024
STRETCH = 8192
# A product costs the same for every pair, an occurrence about this much more than one of the product's terms.
OFTEN = 1 / 16


def joint_counts(
    position: Int[Tensor, " firings"], part: Int[Tensor, " firings"]
) -> Iterator[tuple[Int[Tensor, " n"], Int[Tensor, " n"], Int[Tensor, " n"]]]:
    """(first, second, joint), first < second, sorted, in pieces: at how many positions both fire.

    Firings are sorted by position and, at one position, by part; positions count from 0.
    """
    kinds, kind = part.unique(return_inverse=True)
    stretches = list(_stretches(position, kind, len(kinds)))
    for low in range(0, len(kinds), STRIPE):
        shape = min(STRIPE, len(kinds) - low), len(kinds)
        counts = torch.zeros(shape, dtype=torch.int32, device=kind.device)
        for stretch in stretches:
            stretch.count(counts, low)
        place = counts.triu_(low + 1).view(-1).nonzero().squeeze(1)
        if len(place):
            row = place.div(len(kinds), rounding_mode="floor")
            column = place - row * len(kinds)
            joint = counts.view(-1).index_select(0, place)
            yield kinds.index_select(0, row + low), kinds.index_select(0, column), joint


def _stretches(
    position: Int[Tensor, " firings"], kind: Int[Tensor, " firings"], kinds: int
) -> Iterator[_Stretch]:
    if not len(position):
        return
    edges = torch.arange(0, int(position[-1]) + 1, STRETCH, device=position.device)
    ends = [*torch.searchsorted(position, edges).tolist(), len(position)]
    for low, start, stop in zip(edges.tolist(), ends[:-1], ends[1:], strict=True):
        if stop > start:
            yield _Stretch(position[start:stop] - low, kind[start:stop], kinds)


class _Stretch:
    """The firings of at most STRETCH consecutive positions."""

    def __init__(self, position: Int[Tensor, " n"], kind: Int[Tensor, " n"], kinds: int) -> None:
        self.kind = kind
        length = int(position[-1]) + 1
        often = _often(kind, kinds, length)
        self.common = often.nonzero().squeeze(1)
        column = torch.full((kinds,), -1, device=kind.device)
        column[self.common] = torch.arange(len(self.common), device=kind.device)
        self.is_common = often.index_select(0, kind)
        held = self.is_common.nonzero().squeeze(1)
        self.cell = column.index_select(0, kind.index_select(0, held)) * length + position.index_select(
            0, held
        )
        self.length = length
        # Of each firing: its partners are the firings after it at its position; for a common one only the rare ones.
        rare = ~self.is_common
        self.rare_kind = kind.index_select(0, rare.nonzero().squeeze(1))
        count = position.bincount()
        ends = count.cumsum(0).index_select(0, position)
        passed = torch.cat((rare.new_zeros(1, dtype=torch.long), rare.cumsum(0)))
        here = torch.arange(1, len(kind) + 1, device=kind.device)
        self.first = torch.where(rare, here, passed[1:])
        self.partners = torch.where(rare, ends, passed.index_select(0, ends)) - self.first
        self.order = kind.argsort(stable=True)
        self.sorted = kind.index_select(0, self.order)
        self.ones = torch.ones(TERMS + int(count.max()), dtype=torch.int32, device=kind.device)

    def count(self, counts: Int[Tensor, "stripe kinds"], low: int) -> None:
        """Add this stretch's joint firings to the table's rows from `low` on."""
        high = low + len(counts)
        self._count_common(counts, low, high)
        bounds = torch.tensor([low, high], device=self.kind.device)
        start, stop = torch.searchsorted(self.sorted, bounds).tolist()
        mine = self.order[start:stop]
        table = counts.view(-1)
        common = self.is_common.index_select(0, mine)
        for chosen, pool in ((~common, self.kind), (common, self.rare_kind)):
            some = mine.index_select(0, chosen.nonzero().squeeze(1))
            first, length = self.first.index_select(0, some), self.partners.index_select(0, some)
            rows = (self.kind.index_select(0, some) - low) * counts.shape[1]
            for piece in cuts(length):
                owner, partner = ragged(first[piece], length[piece])
                place = rows[piece].index_select(0, owner).add_(pool.index_select(0, partner))
                table.scatter_add_(0, place, self.ones[: len(place)])

    def _count_common(self, counts: Int[Tensor, "stripe kinds"], low: int, high: int) -> None:
        bounds = torch.tensor([low, high], device=self.kind.device)
        start, stop = torch.searchsorted(self.common, bounds).tolist()
        if start == stop:
            return
        fires = torch.zeros(len(self.common) * self.length, device=self.kind.device)
        fires[self.cell] = 1
        fires = fires.view(len(self.common), self.length)
        # Exact: sums of at most STRETCH ones in fp32. Pairs before `start` are other stripes'.
        both = (fires[start:stop] @ fires[start:].T).to(torch.int32)
        rows = (self.common[start:stop] - low).unsqueeze(1)
        counts[rows, self.common[start:]] += both


def _often(kind: Int[Tensor, " n"], kinds: int, length: int) -> Bool[Tensor, " kinds"]:
    """Which parts are counted by the product; on a GPU all that fire."""
    count = kind.bincount(minlength=kinds)
    return count > (0 if kind.is_cuda else OFTEN * length)
