"""The rows of many short texts in few forwards, each of rows about as long: what is filled up is computed in vain."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rankone.text.blocks import Blocks, joined

# What a forward costs beside its positions, in positions.
FORWARD = 64
# A row's domain and its number there.
Place = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Portion:
    """Rows that are computed at once, and of each the domain that it is of and its number there."""

    blocks: Blocks
    places: tuple[Place, ...]


def portions(
    text: Mapping[str, Blocks], positions: int, without: Collection[Place] = frozenset()
) -> list[Portion]:
    """All rows but those `without`, at most `positions` token positions together, but at least a row.

    Domains come in their order, as many together as fill a portion. Rows are filled at their right with positions that do
    not count; those before do not see them.
    """
    made, waiting = list[Portion](), list[tuple[Place, Blocks]]()
    for i, (domain, blocks) in enumerate(text.items()):
        waiting += [(place, row) for place, row in rows_of(domain, blocks) if place not in without]
        if i == len(text) - 1 or sum(row.ids.shape[1] for _, row in waiting) >= positions:
            waiting.sort(key=lambda one: -one[1].ids.shape[1])
            bounds = _cheapest([row.ids.shape[1] for _, row in waiting], positions)
            made += [_stacked(waiting[start:stop]) for start, stop in pairwise(bounds)]
            waiting = []
    return made


def rows_of(domain: str, blocks: Blocks) -> Iterator[tuple[Place, Blocks]]:
    """Each by itself, up to its last scored token."""
    for i, length in enumerate(blocks.present.sum(1).tolist()):
        yield (domain, i), Blocks(blocks.ids[i : i + 1, :length], blocks.valid[i : i + 1, :length])


def _cheapest(lengths: Sequence[int], positions: int) -> list[int]:
    """Where rows, the longest first, are cut into portions, so that least is computed in all."""
    costs, starts = [0], [0]
    for stop in range(1, len(lengths) + 1):
        cost, start = min(
            (costs[start] + FORWARD + lengths[start] * (stop - start), start)
            for start in range(stop)
            if start == stop - 1 or lengths[start] * (stop - start) <= positions
        )
        costs.append(cost)
        starts.append(start)
    bounds = [len(lengths)]
    while bounds[-1]:
        bounds.append(starts[bounds[-1]])
    return bounds[::-1]


def _stacked(rows: Sequence[tuple[Place, Blocks]]) -> Portion:
    return Portion(joined([row for _, row in rows]), tuple(place for place, _ in rows))
