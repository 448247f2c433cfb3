"""A uniform sample of each part's firings: every firing draws a key, the smallest keys stay.

The key is a hash of (seed, position, part), so it is the same whoever draws it. The sample of two shards is
the smallest keys of both, and no interruption changes it. (Efraimidis & Spirakis 2006, with equal weights.)
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from rankone.runtime.hashing import GOLDEN, finalised, shifted, signed

KEY_BITS = 40


def firing_keys(
    seed: int, position: Int[Tensor, " firings"], part: Int[Tensor, " firings"]
) -> Int[Tensor, " firings"]:
    """Keys in [0, 2^40), as good as independent and uniform."""
    seeded = finalised(position + signed(GOLDEN * (seed + 1)))
    return shifted(finalised(seeded + part * signed(GOLDEN)), 64 - KEY_BITS)


class Bounds:
    """The keys that still stand a chance: per part the `size` smallest seen, and the largest of them."""

    def __init__(self, parts: int, size: int) -> None:
        self.size = size
        self.bound = torch.full((parts,), 1 << KEY_BITS if size else -1)
        self._kept = np.empty(0, dtype=np.int64)

    def admits(self, part: Int[Tensor, " firings"], key: Int[Tensor, " firings"]) -> Bool[Tensor, " firings"]:
        """Which keys may belong to the sample; a key left out never does."""
        return key <= self.bound.to(key.device)[part]

    def tighten(self, part: np.ndarray, key: np.ndarray) -> None:
        """Take note of keys that were admitted."""
        kept = np.concatenate((self._kept, (part.astype(np.int64) << KEY_BITS) | key))
        kept.sort()
        owner = kept >> KEY_BITS
        first = np.searchsorted(owner, owner)
        rank = np.arange(len(kept)) - first
        self._kept = kept[rank < self.size]
        last = self._kept[rank[rank < self.size] == self.size - 1]
        self.bound[last >> KEY_BITS] = torch.from_numpy(last & ((1 << KEY_BITS) - 1))
