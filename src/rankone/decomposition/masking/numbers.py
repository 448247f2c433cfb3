"""Random numbers of several rows: from a generator, or hashed from a seed per row, all rows at once.

A generator is the faster on a CPU. On a GPU a draw is a launch, and thousands of launches a step, one per row and draw,
take longer than all the step computes: there every row's numbers are SplitMix64's from its seed on, by a dozen launches.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor

from rankone.decomposition.masking.masks import draw_noise
from rankone.runtime.hashing import GOLDEN, finalised, shifted, signed

# Bits of a float32's fraction, its leading one included.
FRACTION = 24


class Numbers(Protocol):
    """Numbers for `rows` rows on `device`; every call goes on where the last one ended."""

    rows: int
    device: torch.device

    def uniform(self, *shape: int) -> Float[Tensor, "rows ..."]:
        """In [0, 1), `shape` for every row."""
        ...

    def integers(self, low: int, high: int, *shape: int) -> Int[Tensor, "rows ..."]:
        """From `low` to below `high`, each as likely."""
        ...

    def bytes(self, *shape: int) -> UInt8[Tensor, "rows ..."]:
        """From 0 to 255, each as likely."""
        ...


class Generated:
    """Those of a generator, on its device."""

    def __init__(self, generator: torch.Generator, rows: int = 1) -> None:
        self.generator, self.rows, self.device = generator, rows, generator.device

    def uniform(self, *shape: int) -> Float[Tensor, "rows ..."]:
        """In [0, 1), `shape` for every row."""
        return torch.rand(self.rows, *shape, generator=self.generator, device=self.device)

    def integers(self, low: int, high: int, *shape: int) -> Int[Tensor, "rows ..."]:
        """From `low` to below `high`, each as likely."""
        return torch.randint(low, high, (self.rows, *shape), generator=self.generator, device=self.device)

    def bytes(self, *shape: int) -> UInt8[Tensor, "rows ..."]:
        """From 0 to 255, each as likely."""
        return draw_noise((self.rows, *shape), self.generator)


class Hashed:
    """SplitMix64 from each row's seed on: a row's numbers do not depend on which rows are drawn with it."""

    def __init__(self, seeds: Int64[Tensor, " rows"]) -> None:
        self.seeds, self.rows, self.device, self._next = seeds, len(seeds), seeds.device, 1

    def _words(self, shape: tuple[int, ...], each: int = 1) -> Int64[Tensor, "rows words"]:
        """The next words of every row, as many as numbers of `shape` need with `each` of them to a word."""
        count = -(-math.prod(shape) // each)
        steps = torch.arange(self._next, self._next + count, device=self.device)
        self._next += count
        return finalised(self.seeds.unsqueeze(1) + steps * signed(GOLDEN))

    def uniform(self, *shape: int) -> Float[Tensor, "rows ..."]:
        """In [0, 1), `shape` for every row."""
        fraction = shifted(self._words(shape), 64 - FRACTION).float() * 2.0**-FRACTION
        return fraction.view(self.rows, *shape)

    def integers(self, low: int, high: int, *shape: int) -> Int[Tensor, "rows ..."]:
        """From `low` to below `high`, each as likely to a part in 2^63 over their number."""
        return (shifted(self._words(shape), 1) % (high - low) + low).view(self.rows, *shape)

    def bytes(self, *shape: int) -> UInt8[Tensor, "rows ..."]:
        """From 0 to 255, each as likely."""
        drawn = self._words(shape, 8).view(torch.uint8)
        return drawn[:, : math.prod(shape)].reshape(self.rows, *shape)
