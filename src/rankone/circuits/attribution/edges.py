"""Edges by batched backward passes: rows of seeds from what targets read to every leaf they read directly.

For a target with read vector v at x_t the gradient G of v·x_t at a leaf gives every edge into it from that leaf:
edge(s → t) = (G · u_s) a_s, of other nodes G · w with w what they write. A target that reads its own position alone shares
its row with the same subcomponent at all positions; one that mixes positions (attention outputs) has a row per position.
Which leaves a site reads, and whether it mixes, is found by a probe: a backward from a random direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankone.circuits.attribution.cut import Cut
from rankone.circuits.attribution.nodes import Nodes, Source, Target
from rankone.runtime.progress import Meter

# Gradients of one backward call, in bytes, and the most rows of one.
BYTES_AT_ONCE = 1 << 28
ROWS_AT_ONCE = 64
# Edges smaller than this share of what flows into their target are left out.
SMALLEST = 1e-6
# Edges of a piece that is filled before another is begun.
PIECE = 1 << 20


@dataclass(frozen=True)
class Reading:
    """What a site reads directly: leaves, and whether from other positions too."""

    leaves: tuple[str, ...]
    mixes: bool


@dataclass(frozen=True)
class Output:
    """A linear function of the logits at the last position: seed [vocab], and its node."""

    seed: Float[Tensor, " vocab"]
    node: int


@dataclass(frozen=True)
class Edges:
    """Sparse edges by one rule. source, target: nodes; total, absolute: [nodes] sums of all that flows into each, float64,
    those too small to be kept included."""

    source: Int[Tensor, " n"]
    target: Int[Tensor, " n"]
    weight: Float[Tensor, " n"]
    total: Float[Tensor, " nodes"]
    absolute: Float[Tensor, " nodes"]


def probe(cut: Cut, site: str, seed: int = 0) -> Reading:
    """Which leaves the input of a site depends on, from a random direction at the last position."""
    x = cut.inputs[site]
    if not x.requires_grad:
        return Reading((), False)
    generator = torch.Generator().manual_seed(seed)
    rows = x.reshape(cut.length, -1)
    direction = torch.randn(rows.shape[1], generator=generator).to(rows)
    given = torch.autograd.grad(
        rows[-1] @ direction, list(cut.leaves.values()), retain_graph=True, allow_unused=True
    )
    touched = {
        name: g.reshape(cut.length, -1).ne(0).any(1)
        for name, g in zip(cut.leaves, given, strict=True)
        if g is not None
    }
    read = tuple(name for name, positions in touched.items() if positions.any())
    return Reading(read, any(bool(touched[name][:-1].any()) for name in read))


def all_edges(
    cut: Cut, nodes: Nodes, outputs: Sequence[Output], count: int, bar: Meter | None = None
) -> Edges:
    """Edges into all chosen subcomponents and outputs; count: of all nodes."""
    gathered, rows = _Gathered(cut, nodes, count), rows_at_once(cut)
    for site, target in nodes.targets.items():
        if not target.reads.shape[1]:
            continue  # none of this site's parts is chosen
        reading = probe(cut, site)
        for seeds, ids in _batches(target, reading.mixes, rows, cut.length):
            gathered.take(cut.inputs[site], seeds, ids, reading.leaves)
            if bar is not None:
                bar.advance(len(seeds))
    for start in range(0, len(outputs), rows):
        some = outputs[start : start + rows]
        seeds = torch.stack([o.seed for o in some]).to(cut.logits)
        ids = torch.tensor([o.node for o in some], device=seeds.device).unsqueeze(1).expand(-1, cut.length)
        gathered.take(cut.logits[-1], seeds, ids, tuple(cut.leaves))
    return gathered.edges()


def row_count(cut: Cut, nodes: Nodes) -> int:
    """Number of seeds over all targets."""
    return sum(
        int((t.node >= 0).sum()) if probe(cut, s).mixes else t.reads.shape[1]
        for s, t in nodes.targets.items()
    )


def rows_at_once(cut: Cut, budget: int = BYTES_AT_ONCE) -> int:
    """As many rows as fit a budget of bytes, the gradients at the leaves and their passage counted thrice."""
    one = 3 * sum(leaf.numel() * leaf.element_size() for leaf in cut.leaves.values())
    return max(1, min(ROWS_AT_ONCE, budget // max(one, 1)))


def _batches(target: Target, mixes: bool, rows: int, length: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Seeds [B, T, d_in] and the target's node for a source at each position [B, T]."""
    if not mixes:
        for columns in torch.arange(target.reads.shape[1], device=target.reads.device).split(rows):
            yield target.reads[:, columns].T.unsqueeze(1).expand(-1, length, -1), target.node[:, columns].T
        return
    places, columns = (target.node >= 0).nonzero(as_tuple=True)
    for some, column in zip(places.split(rows), columns.split(rows), strict=True):
        seeds = target.reads.new_zeros(len(some), length, len(target.reads))
        seeds[torch.arange(len(some)), some] = target.reads[:, column].T
        yield seeds, target.node[some, column].unsqueeze(1).expand(-1, length)


def gradients(
    read: Tensor, seeds: Float[Tensor, "b ..."], leaves: Sequence[Tensor]
) -> list[Float[Tensor, "b ..."] | None]:
    """Gradients at the leaves for a batch of seeds, in one vmapped backward."""
    # A row that is all there is needs no batching rule, and has none where an operation lacks one.
    if len(seeds) == 1:
        given = torch.autograd.grad(read, leaves, seeds[0], retain_graph=True, allow_unused=True)
        return [None if g is None else g.unsqueeze(0) for g in given]
    return list(
        torch.autograd.grad(read, leaves, seeds, retain_graph=True, allow_unused=True, is_grads_batched=True)
    )


class _Gathered:
    def __init__(self, cut: Cut, nodes: Nodes, count: int) -> None:
        self.cut, self.nodes = cut, nodes
        device = cut.logits.device
        self.total = torch.zeros(count, dtype=torch.float64, device=device)
        self.absolute = torch.zeros(count, dtype=torch.float64, device=device)
        self.kept = _Kept()

    def take(self, read: Tensor, seeds: Tensor, ids: Int[Tensor, "b t"], leaves: Sequence[str]) -> None:
        """Edges of one batch of seeds."""
        if not leaves:
            return
        shaped = seeds.reshape(len(seeds), *read.shape)
        given = gradients(read, shaped, [self.cut.leaves[name] for name in leaves])
        blocks = []
        for name, gradient in zip(leaves, given, strict=True):
            if gradient is None:
                continue
            rows = gradient.reshape(len(seeds), self.cut.length, -1)
            blocks += [self._block(*flow, ids) for flow in _flows(rows, self.nodes.sources[name])]
        for source, target, weight in blocks:
            large = weight.abs() > SMALLEST * self.absolute[target]
            self.kept.add(source[large].cpu(), target[large].cpu(), weight[large].cpu())

    def _block(
        self, weight: Float[Tensor, "b n"], place: Tensor, node: Tensor, ids: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        target = ids[:, place]
        row, entry = ((target >= 0) & (weight != 0)).nonzero(as_tuple=True)
        into, flow = target[row, entry], weight[row, entry]
        self.total.index_add_(0, into, flow.double())
        self.absolute.index_add_(0, into, flow.abs().double())
        return node[entry], into, flow

    def edges(self) -> Edges:
        """All of them, by target and source."""
        source, target, weight = self.kept.joined()
        order = (target * len(self.total) + source).argsort()
        return Edges(source[order], target[order], weight[order], self.total.cpu(), self.absolute.cpu())


class _Kept:
    """Edges as they come, in a few large pieces: small ones, strewn among gradients that come and go, would keep the memory
    of those from being used again (some gigabytes, at 512 tokens of a model of 135M)."""

    def __init__(self) -> None:
        self.pieces: list[tuple[Tensor, Tensor, Tensor]] = []
        self.filled = 0  # of the last piece

    def add(self, *columns: Tensor) -> None:
        """Source, target and weight of some edges, on the CPU."""
        start, count = 0, len(columns[0])
        while start < count:
            if not self.pieces or self.filled == PIECE:
                source, target, weight = (torch.empty(PIECE, dtype=c.dtype) for c in columns)
                self.pieces.append((source, target, weight))
                self.filled = 0
            some = min(count - start, PIECE - self.filled)
            for whole, column in zip(self.pieces[-1], columns, strict=True):
                whole[self.filled : self.filled + some] = column[start : start + some]
            start, self.filled = start + some, self.filled + some

    def joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """Source, target and weight of all of them."""
        if not self.pieces:
            none = torch.empty(0, dtype=torch.long)
            return none, none, torch.empty(0)
        source, target, weight = (torch.cat(column) for column in zip(*self.pieces, strict=True))
        count = len(source) - PIECE + self.filled
        return source[:count], target[:count], weight[:count]


def _flows(
    gradient: Float[Tensor, "b t d"], source: Source
) -> Iterator[tuple[Float[Tensor, "b n"], Tensor, Tensor]]:
    """Contributions of the nodes of one leaf, their positions and their numbers."""
    if len(source.place):
        effects = gradient @ source.writes.T
        yield effects[:, source.place, source.column] * source.size, source.place, source.node
    for vectors, node in source.rests:
        places = torch.arange(len(vectors), device=vectors.device)
        yield torch.einsum("btd,td->bt", gradient, vectors), places, node
