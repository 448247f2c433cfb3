"""Merging groups until the description cannot get shorter; the partition of the shortest description is kept.

Of all N = k (k − 1) / 2 pairs, ranked by ΔL, the one of rank J is merged, P(J) ∝ exp(−γ J). With u uniform in [0, 1),
J = ⌊−ln(1 − u (1 − e^{−γN})) / γ⌋ (inverse of the distribution function).

It ends when no coarser partition can be better. R = Σ s_i r_i never falls: s_∪ (r_i + r_j) ≥ s_i r_i + s_j r_j because
s_∪ is at least s_i and s_j. And S log2 k ≥ 0. So all that can still come has L ≥ ρ R, and once ρ R reaches the least L so
far, that one stands. Until then the merging goes on where ΔL is positive, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rankone.clustering.description import length_from_sums
from rankone.clustering.groups import Groups
from rankone.clustering.pool import Pool
from rankone.clustering.sample import Sample
from rankone.runtime.progress import Meter

POOL = 1 << 15
# The largest −ln(1 − u) of a double u < 1.
LARGEST_EXPONENT = 37


@dataclass(frozen=True)
class Merges:
    """A way of merging n subcomponents.

    first, second: [steps], the smallest subcomponent of each of the two groups merged. bits: [steps + 1], L before and
    after each step.
    """

    units: int
    first: Int[np.ndarray, " steps"]
    second: Int[np.ndarray, " steps"]
    bits: Float[np.ndarray, " steps_and_one"]

    @property
    def best(self) -> int:
        """The number of merges that give the shortest description, the fewest of equals."""
        return int(self.bits.argmin())

    def groups(self, steps: int | None = None) -> Int[np.ndarray, " units"]:
        """After `steps` merges (default `best`): for each subcomponent the smallest one of its group."""
        root = np.arange(self.units)
        steps = self.best if steps is None else steps
        for i, j in zip(self.first[:steps].tolist(), self.second[:steps].tolist(), strict=True):
            root[max(i, j)] = min(i, j)
        # Roots are smaller than what hangs on them, so one rising pass resolves them all.
        for unit in range(self.units):
            root[unit] = root[root[unit]]
        return root


def draw_rank(u: float, pairs: int, gamma: float | None) -> int:
    """Rank of the pair to merge among `pairs`, for u uniform in [0, 1); 0 if gamma is None."""
    if gamma is None:
        return 0
    rank = math.floor(-math.log1p(u * math.expm1(-gamma * pairs)) / gamma)
    return min(rank, pairs - 1)


def merge_all(
    sample: Sample, rank_penalty: float, gamma: float | None, seed: int, bar: Meter | None = None
) -> Merges:
    """Merge until nothing coarser can be shorter. rank_penalty: bits per firing and member; gamma None: the cheapest."""
    groups = Groups(sample.position, sample.unit, len(sample.names))
    pool = Pool(
        groups, rank_penalty, POOL if gamma is None else max(POOL, math.ceil(LARGEST_EXPONENT / gamma))
    )
    rng = np.random.default_rng(seed)
    count = groups.slots
    firings = weighted = int(groups.sizes.sum())
    bits, merged = [length_from_sums(firings, weighted, count, rank_penalty)], []
    least = bits[0]
    while count > 1 and rank_penalty * weighted < least:
        pair = pool.take(draw_rank(rng.random(), count * (count - 1) // 2, gamma), count)
        merged.append((int(groups.first[pair.first]), int(groups.first[pair.second])))
        firings -= pair.joint
        weighted += _weight_gained(groups, pair.first, pair.second, pair.joint)
        groups.merge(pair.first, pair.second)
        count -= 1
        if 2 * count <= groups.slots:
            groups.compact()
            pool.renumbered()
        elif count > 1:
            pool.merged(pair.first, pair.second, count)
        bits.append(length_from_sums(firings, weighted, count, rank_penalty))
        least = min(least, bits[-1])
        if bar is not None:
            bar.advance(1, f"{count:,} groups · {bits[-1] / bits[0]:.3f} of the bits")
    first, second = np.array(merged, dtype=np.int64).reshape(-1, 2).T
    return Merges(len(sample.names), first, second, np.array(bits))


def _weight_gained(groups: Groups, i: int, j: int, joint: int) -> int:
    """Rise of R = Σ s r when slots i and j are merged."""
    (s_i, s_j), (r_i, r_j) = groups.sizes[[i, j]].tolist(), groups.members[[i, j]].tolist()
    return s_i * r_j + s_j * r_i - joint * (r_i + r_j)
