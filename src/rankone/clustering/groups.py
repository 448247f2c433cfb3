"""Groups of subcomponents while they are merged: firings, members, and joint firings of all pairs.

A table of joint firings, [k, k] in the smallest integers that hold the number of positions, is kept up to date: 10,000
groups take 200 MB up to 65,535 positions, 400 MB above. It pays: reading all pairs' costs anew is a pass over the table,
where counting them anew is a pass over the square of what fires at every position. A merge needs the counts of the
union with every other group l,

    |(i ∪ j) ∩ l| = |i ∩ l| + |j ∩ l| − |i ∩ j ∩ l|,

two rows of the table and a count over the few positions where i and j both fire.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int

from rankone.harvest.counting.pairs import joint_counts
from rankone.harvest.counting.sparse import cuts, ragged


class Groups:
    """Groups in *slots* 0 … n − 1; a merged-away slot is empty until `compact` renumbers the rest, in order.

    sizes: firings of the group in each slot. members: number of subcomponents. first: its smallest subcomponent,
    provided that the later slot is always merged into the earlier.
    """

    def __init__(
        self, position: Int[np.ndarray, " firings"], unit: Int[np.ndarray, " firings"], units: int
    ) -> None:
        """One group per subcomponent. Firings are sorted by position, then subcomponent, each there once."""
        self.positions = int(position[-1]) + 1 if len(position) else 0
        self.members = np.ones(units, dtype=np.int64)
        self.first = np.arange(units)
        self._place(position, unit.copy())
        self._joint = np.zeros((units, units), dtype=np.min_scalar_type(self.positions))
        for pairs in joint_counts(torch.from_numpy(position).long(), torch.from_numpy(unit).long()):
            i, j, count = (t.numpy() for t in pairs)
            self._joint[i, j] = count
            self._joint[j, i] = count

    def _place(self, position: np.ndarray, slot: np.ndarray) -> None:
        """Take up firings sorted by position."""
        self._position, self._slot = position, slot
        self._start = np.searchsorted(position, np.arange(self.positions + 1))
        self.sizes = np.bincount(slot, minlength=len(self.members))
        self._where = np.split(np.argsort(slot, kind="stable"), np.cumsum(self.sizes)[:-1])

    @property
    def slots(self) -> int:
        """Number of slots, empty ones included."""
        return len(self.sizes)

    def alive(self) -> Int[np.ndarray, " k"]:
        """Slots that hold a group, rising."""
        return np.flatnonzero(self.members)

    def joint(self, slots: int | np.ndarray, start: int = 0) -> np.ndarray:
        """Joint firings of the groups in `slots` with all slots from `start` on; 0 with itself and empty ones."""
        return self._joint[slots, start:].astype(np.int64)

    def merge(self, i: int, j: int) -> None:
        """Put the group of slot j into that of slot i < j."""
        here, other = self._where[i], self._where[j]
        shared = _contained(self._position[other], self._position[here])
        row = self.joint(i) + self.joint(j) - self._count(self._position[other[shared]])
        # An entry whose group is there already belongs to no slot any more.
        self._slot[other[shared]] = self.slots
        self._slot[other[~shared]] = i
        self._where[i] = np.sort(np.concatenate((here, other[~shared])))
        self._where[j] = other[:0]
        self.sizes[i], self.sizes[j] = len(self._where[i]), 0
        self.members[i], self.members[j] = self.members[i] + self.members[j], 0
        self._joint[i] = self._joint[:, i] = row
        self._joint[j] = self._joint[:, j] = 0

    def _count(self, positions: np.ndarray) -> np.ndarray:
        """At how many of these positions the group of each slot fires."""
        count = np.zeros(self.slots + 1, dtype=np.int64)
        first = torch.from_numpy(self._start[positions])
        length = torch.from_numpy(self._start[positions + 1]) - first
        for piece in cuts(length):
            _, entry = ragged(first[piece], length[piece])
            count += np.bincount(self._slot[entry.numpy()], minlength=self.slots + 1)
        return count[:-1]

    def compact(self) -> None:
        """Drop empty slots and entries without one; the order of the groups stays."""
        alive, kept = self.alive(), self._slot < self.slots
        number = np.zeros(self.slots, dtype=self._slot.dtype)
        number[alive] = np.arange(len(alive))
        self.members, self.first = self.members[alive], self.first[alive]
        self._joint = self._joint[np.ix_(alive, alive)]
        self._place(self._position[kept], number[self._slot[kept]])


def _contained(sought: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which of `sought` are in `known`; both sorted, `known` not empty."""
    at = np.searchsorted(known, sought)
    return known[np.minimum(at, len(known) - 1)] == sought
