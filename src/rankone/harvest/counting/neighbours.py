"""Of each part the others it fires with most: the largest overlaps joint / either, most first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NEIGHBOURS = 64


def nearest_neighbours(cofiring: Path, firings: np.ndarray, low: int, high: int) -> pa.Table:
    """Rows (part, other, joint, jaccard) of parts from `low` up to `high`, at most 65,536 of them.

    cofiring: table (first, second, joint) of the pairs; it is read row group by row group, as the second of a pair may be
    anywhere. firings: of every part. Of equal overlaps the one with the smaller number comes first.
    """
    sides = list(_sides(cofiring, low, high))
    owner, other, joint = (np.concatenate([side[i] for side in sides]) for i in range(3))
    # Sorting numbers of 16 bits is cheap.
    order = (owner - low).astype(np.uint16).argsort(kind="stable")
    owner, other, joint = owner[order], other[order], joint[order]
    jaccard = (joint / (firings[owner] + firings[other] - joint)).astype(np.float32)
    edges = np.flatnonzero(np.diff(owner, prepend=-1, append=-1)) if len(owner) else np.zeros(1, np.int64)
    best = [np.zeros(0, np.int64)]
    for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        best.append(start + _largest(jaccard[start:stop], other[start:stop]))
    chosen = np.concatenate(best)
    columns = {"part": owner[chosen], "other": other[chosen], "joint": joint[chosen].astype(np.int64)}
    return pa.table({**columns, "jaccard": jaccard[chosen]})


def _sides(cofiring: Path, low: int, high: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each pair from both sides, as far as the side is wanted."""
    empty = np.zeros(0, np.int32)
    yield empty, empty, empty
    with pq.ParquetFile(cofiring) as file:
        for batch in file.iter_batches(use_threads=False):
            first, second, joint = (batch[name].to_numpy() for name in ("first", "second", "joint"))
            for owner, other in ((first, second), (second, first)):
                wanted = (owner >= low) & (owner < high)
                yield owner[wanted], other[wanted], joint[wanted]


def _largest(jaccard: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Places of the largest overlaps in their order."""
    kept = np.arange(len(jaccard))
    if len(jaccard) > NEIGHBOURS:
        least = np.partition(jaccard, len(jaccard) - NEIGHBOURS)[len(jaccard) - NEIGHBOURS]
        kept = np.flatnonzero(jaccard >= least)
    return kept[np.lexsort((other[kept], -jaccard[kept]))[:NEIGHBOURS]]
