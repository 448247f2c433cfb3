"""Importance and activation of a subcomponent in a window around a firing.

A *track* is one subcomponent over one row of text. Windows are cut from the tracks that hold a wanted firing; no other
activation is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.decomposition.model import Decomposition
from rankone.harvest.counting.firings import Firings

# Tracks of one product. A product of always the same shape gives a track the same bits whichever others are wanted.
BLOCK = 64
LEVELS = 255
STEPS = 127


@dataclass(frozen=True)
class Cut:
    """Windows of 2 · window + 1 tokens, one row each.

    index: which of the wanted firings they are around. importances: uint8 in units of 1/255. activations: int8; times the
    window's step, which is its largest activation / 127, they are what they were up to half a step.
    """

    index: Int[Tensor, " n"]
    importances: Int[Tensor, "n width"]
    activations: Int[Tensor, "n width"]
    step: Float[Tensor, " n"]


class Windows:
    """Cuts windows: importances and signed activations ‖u‖ v·x, zero beyond the row and at BOS and padding."""

    def __init__(self, decomposition: Decomposition, window: int) -> None:
        self.window = window
        self.edges = [0]
        self._reads: list[Tensor] = []
        for site, count in zip(decomposition.sites, decomposition.counts, strict=True):
            read, write = decomposition.factors(site)
            self._reads.append((read.detach() * write.detach().norm(dim=1)).T.contiguous())
            self.edges.append(self.edges[-1] + count)

    def around(
        self,
        inputs: list[Float[Tensor, "b t d"]],
        valid: Bool[Tensor, "b t"],
        fired: Firings,
        wanted: Int[Tensor, " n"],
    ) -> Iterator[Cut]:
        """Windows around the firings of `fired` with the numbers `wanted`, site by site."""
        edges = torch.tensor(self.edges, device=valid.device)
        by_site = _by_site(fired.part, edges)
        centres = _by_site(fired.part.index_select(0, wanted), edges)
        for site, (reads, here, centre) in enumerate(zip(self._reads, by_site, centres, strict=True)):
            if len(centre):
                wished = fired.take(wanted.index_select(0, centre))
                tracks = _Tracks(wished, self.edges[site], len(reads), valid.shape)
                products = tracks.products(reads, inputs[site].float() * valid.unsqueeze(-1))
                yield self._cut(centre, tracks, fired.take(here), products)

    def _cut(
        self, index: Int[Tensor, " n"], tracks: _Tracks, fired: Firings, products: Float[Tensor, "slots t"]
    ) -> Cut:
        window, (slots, length) = self.window, products.shape
        activations = products.new_zeros(slots, length + 2 * window)
        activations[:, window : window + length] = products
        importances = torch.zeros_like(activations, dtype=torch.uint8)
        slot = tracks.slots(fired)
        mine = (slot >= 0).nonzero().squeeze(1)
        place = slot * importances.shape[1] + fired.cell % length + window
        values = (fired.importance * LEVELS).round_().to(torch.uint8)
        importances.view(-1)[place.index_select(0, mine)] = values.index_select(0, mine)
        begin = tracks.slots(tracks.centres) * importances.shape[1] + tracks.centres.cell % length
        return cut_out(index, importances, activations, begin, 2 * window + 1)


class _Tracks:
    """The tracks of one site that hold some firings, `centres`. Each has a slot; slots lie in blocks of one row each."""

    def __init__(self, centres: Firings, first: int, count: int, shape: torch.Size) -> None:
        self.centres = centres
        self._first, self._count, (rows, self._length) = first, count, shape
        wanted = torch.zeros(rows * count, dtype=torch.bool, device=centres.cell.device)
        wanted[self._track(centres)] = True
        tracks = wanted.nonzero().squeeze(1)
        row = tracks.div(count, rounding_mode="floor")
        held = row.bincount(minlength=rows)
        blocks = (held + BLOCK - 1).div(BLOCK, rounding_mode="floor")
        self._blocks: list[int] = blocks.tolist()
        ahead = (blocks.cumsum(0) - blocks) * BLOCK - (held.cumsum(0) - held)
        slot = torch.arange(len(tracks), device=tracks.device) + ahead.index_select(0, row)
        self._slot = torch.full_like(wanted, -1, dtype=torch.long)
        self._slot[tracks] = slot
        # A slot without a track repeats the site's first subcomponent.
        self._column = slot.new_zeros(sum(self._blocks) * BLOCK)
        self._column[slot] = tracks - row * count

    def _track(self, firings: Firings) -> Int[Tensor, " n"]:
        row = firings.cell.div(self._length, rounding_mode="floor")
        return row * self._count + firings.part - self._first

    def slots(self, firings: Firings) -> Int[Tensor, " n"]:
        """The slot of each firing's track; −1 where the track is not held."""
        return self._slot.index_select(0, self._track(firings))

    def products(self, reads: Float[Tensor, "c d"], x: Float[Tensor, "b t d"]) -> Float[Tensor, "slots t"]:
        """reads · x of every slot along its row."""
        _, length, width = x.shape
        products = x.new_empty(sum(self._blocks), BLOCK, length)
        columns = self._column.split([count * BLOCK for count in self._blocks])
        for text, count, column, out in zip(
            x, self._blocks, columns, products.split(self._blocks), strict=True
        ):
            if count:
                # The row's text is not laid out once per block: that took as long as the product.
                read = reads.index_select(0, column).view(count, BLOCK, width)
                torch.bmm(read, text.T.expand(count, width, length), out=out)
        return products.view(-1, length)


def cut_out(
    index: Int[Tensor, " n"],
    importances: Int[Tensor, "slots t"],
    activations: Float[Tensor, "slots t"],
    begin: Int[Tensor, " n"],
    width: int,
) -> Cut:
    """The windows that begin at the given places of the flattened values; index: what they are around."""
    cut = _stretches(activations, begin, width)
    step = cut.abs().amax(1).clamp_min_(torch.finfo(torch.float32).tiny) / STEPS
    steps = cut.div_(step.unsqueeze(1)).round_().to(torch.int8)
    return Cut(index, _stretches(importances, begin, width), steps, step)


def _by_site(part: Int[Tensor, " n"], edges: Int[Tensor, " sites1"]) -> list[Int[Tensor, " m"]]:
    """Numbers of the entries that belong to each site, in their order."""
    site = torch.bucketize(part, edges[1:], right=True)
    order = site.sort(stable=True).indices
    return list(order.split(site.bincount(minlength=len(edges) - 1).tolist()))


def _stretches(
    values: Int[Tensor, "slots t"] | Float[Tensor, "slots t"], begin: Int[Tensor, " n"], width: int
) -> Tensor:
    """The `width` numbers from each place of the flattened values on, [n, width]."""
    overlapping = values.view(-1).as_strided((values.numel() - width + 1, width), (1, 1))
    return overlapping.index_select(0, begin)
