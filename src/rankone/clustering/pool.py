"""The cheapest merges among all pairs of groups, without looking at all pairs after every merge.

Pairs are ordered by (cost, first slot, second slot). The pool holds the cheapest at one time; its *bound* is the last
of them. While k falls, the cost of a pair that is left alone can only rise (description.py), so a pair that was left
out stays above the bound, and any pair of the pool that is still within it has its true rank. A merge takes out the
pairs of both groups and puts in the new group's pairs that lie within the bound. Only when too few are left within it
are all pairs looked at again: a pass over the table of joint firings, in stripes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankone.clustering.description import cost, fixed_cost
from rankone.clustering.groups import Groups

# Cells of the table looked at together.
STRIPE_CELLS = 1 << 20


@dataclass(frozen=True)
class Pair:
    """Two slots, first < second, with their joint firings and f_ij."""

    first: int
    second: int
    joint: int
    fixed: float


class Pool:
    """The cheapest pairs of `groups`, with the given number of bits per firing and member."""

    def __init__(self, groups: Groups, rank_penalty: float, size: int = 1 << 15) -> None:
        """`size`: pairs held after a look at all; at least one more than any rank that will be asked for."""
        self.groups, self.rank_penalty, self.size = groups, rank_penalty, size
        self._clear()

    def _clear(self) -> None:
        self._slots = np.empty((2, 0), dtype=np.int64)
        self._joint = np.empty(0, dtype=np.int64)
        self._fixed = np.empty(0)
        # Nothing is known to lie within the bound.
        self._bound: tuple[float, int, int] = (-np.inf, -1, -1)

    def take(self, rank: int, count: int) -> Pair:
        """The pair of the given rank (0 is the cheapest) among `count` groups."""
        at = self._at(rank, count)
        if at is None:
            self._look(count)
            at = self._at(rank, count)
        assert at is not None, f"rank {rank} asked of {count} groups and a pool of {self.size}"
        first, second = self._slots[:, at].tolist()
        return Pair(first, second, int(self._joint[at]), float(self._fixed[at]))

    def _at(self, rank: int, count: int) -> int | None:
        """Where the pair of that rank is, None if the pool does not know."""
        if rank >= len(self._joint):
            return None
        costs = cost(self._fixed, self._joint, count)
        low = np.flatnonzero(costs <= np.partition(costs, rank)[rank])
        order = np.lexsort((self._slots[1, low], self._slots[0, low], costs[low]))
        at = int(low[order[rank]])
        candidate = (float(costs[at]), *self._slots[:, at].tolist())
        return at if candidate <= self._bound else None

    def _look(self, count: int) -> None:
        """Fill the pool from all pairs."""
        self._clear()
        alive = self.groups.alive()
        stripe = max(1, STRIPE_CELLS // self.groups.slots)
        for start in range(0, len(alive), stripe):
            self._append(*self._stripe(alive[start : start + stripe], count))
            if len(self._joint) > self.size:
                self._cut(count)
        if self._bound[0] == -np.inf:
            self._bound = (np.inf, 0, 0)

    def _stripe(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(slots, joint, fixed) of the pairs whose first is in `rows` and that may be among the cheapest."""
        start = int(rows[0])
        sizes, members = self.groups.sizes[start:], self.groups.members[start:]
        joint, row = self.groups.joint(rows, start), rows[:, None] - start
        fixed = fixed_cost((sizes[row], sizes), (members[row], members), joint, self.rank_penalty)
        fits = (np.arange(len(sizes)) > row) & (members > 0)
        if self._bound[0] > -np.inf:
            # A pair of the bound's own cost comes after it: its first slot is larger.
            fits &= cost(fixed, joint, count) < self._bound[0]
        row, column = fits.nonzero()
        return np.stack((rows[row], column + start)), joint[row, column], fixed[row, column]

    def _cut(self, count: int) -> None:
        """Keep the cheapest `size`; pairs are in the order of their slots, and stay so."""
        costs = cost(self._fixed, self._joint, count)
        last = np.partition(costs, self.size - 1)[self.size - 1]
        kept = costs < last
        ties = np.flatnonzero(costs == last)[: self.size - int(kept.sum())]
        kept[ties] = True
        self._keep(kept)
        self._bound = (float(last), *self._slots[:, int(kept[: ties[-1]].sum())].tolist())

    def merged(self, first: int, second: int, count: int) -> None:
        """Take note that `second` went into `first`, which leaves `count` groups, two at least."""
        i, j = self._slots
        self._keep((i != first) & (j != first) & (i != second) & (j != second))
        others = self.groups.alive()
        others = others[others != first]
        sizes, members = self.groups.sizes, self.groups.members
        joint = self.groups.joint(first)[others]
        pair = (sizes[first], sizes[others]), (members[first], members[others])
        fixed = fixed_cost(*pair, joint, self.rank_penalty)
        slots = np.stack((np.minimum(first, others), np.maximum(first, others)))
        # Those of the bound's own cost may be beyond it; `_at` then looks at all.
        within = cost(fixed, joint, count) <= self._bound[0]
        self._append(slots[:, within], joint[within], fixed[within])

    def renumbered(self) -> None:
        """Take note that the slots have new numbers."""
        self._clear()

    def _append(self, slots: np.ndarray, joint: np.ndarray, fixed: np.ndarray) -> None:
        self._slots = np.concatenate((self._slots, slots), axis=1)
        self._joint = np.concatenate((self._joint, joint))
        self._fixed = np.concatenate((self._fixed, fixed))

    def _keep(self, kept: np.ndarray) -> None:
        self._slots, self._joint, self._fixed = self._slots[:, kept], self._joint[kept], self._fixed[kept]
