"""A uniform sample of each subcomponent's firings: every firing draws a key, the smallest keys stay.

The key is a hash of (seed, position, subcomponent), so it is the same whoever draws it. The sample of two shards is
the smallest keys of both, and no interruption changes it. (Efraimidis & Spirakis 2006, with equal weights.)
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

KEY_BITS = 40
_GOLDEN = 0x9E3779B97F4A7C15


def firing_keys(
    seed: int, position: Int[Tensor, " firings"], component: Int[Tensor, " firings"]
) -> Int[Tensor, " firings"]:
    """Keys in [0, 2^40), as good as independent and uniform."""
    mixed = _mix(_mix(position + _signed(_GOLDEN * (seed + 1))) + component * _signed(_GOLDEN))
    return _shifted(mixed, 64 - KEY_BITS)


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _shifted(x: Int[Tensor, " n"], bits: int) -> Int[Tensor, " n"]:
    """Logical shift to the right; int64's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


class Bounds:
    """The keys that still stand a chance: per subcomponent the `size` smallest seen, and the largest of them."""

    def __init__(self, components: int, size: int) -> None:
        self.size = size
        self.bound = torch.full((components,), 1 << KEY_BITS if size else -1)
        self._kept = np.empty(0, dtype=np.int64)

    def admits(
        self, component: Int[Tensor, " firings"], key: Int[Tensor, " firings"]
    ) -> Bool[Tensor, " firings"]:
        """Which keys may belong to the sample; a key left out never does."""
        return key <= self.bound.to(key.device)[component]

    def tighten(self, component: np.ndarray, key: np.ndarray) -> None:
        """Take note of keys that were admitted."""
        kept = np.concatenate((self._kept, (component.astype(np.int64) << KEY_BITS) | key))
        kept.sort()
        owner = kept >> KEY_BITS
        first = np.searchsorted(owner, owner)
        rank = np.arange(len(kept)) - first
        self._kept = kept[rank < self.size]
        last = self._kept[rank[rank < self.size] == self.size - 1]
        self.bound[last >> KEY_BITS] = torch.from_numpy(last & ((1 << KEY_BITS) - 1))
