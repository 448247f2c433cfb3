"""The random numbers of a step as a function of (seed, step, purpose, row of the global batch).

So a row meets the same masks and routes whichever process takes it, in however many parts, and whether or not the run was
cut off before; two processes, which take different rows, never draw the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from rankone.decomposition.masking.levels import LEVELS
from rankone.decomposition.masking.masks import draw_noise
from rankone.decomposition.masking.routing import ROUTINGS
from rankone.runtime.hashing import mixed

PURPOSES = ("start", "coin", "noise", "level", "delta", "route", "pool", "fresh", "chance", "renewal")


class RowDraws:
    """The draws of one step, from a generator that is seeded anew for every row; those before the first are of step −1."""

    def __init__(self, seed: int, device: torch.device, step: int = -1) -> None:
        self.seed, self.device, self.step = seed, device, step
        self._generator = torch.Generator(device=device)

    def at(self, step: int) -> RowDraws:
        """The draws of that step."""
        return RowDraws(self.seed, self.device, step)

    def generators(self, rows: Iterable[int], purpose: str, index: int = 0) -> Iterator[torch.Generator]:
        """A generator for each row, to be used before the next is asked for. `index` counts draws of one purpose."""
        for row in rows:
            seed = mixed(self.seed, self.step + 1, PURPOSES.index(purpose), index, row)
            yield self._generator.manual_seed(seed)

    def each(
        self,
        rows: Iterable[int],
        purpose: str,
        draw: Callable[[torch.Generator], Tensor],
        index: int = 0,
    ) -> Tensor:
        """What `draw` gives for every row, joined along the first axis."""
        drawn = [draw(generator) for generator in self.generators(rows, purpose, index)]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)

    def uniform(self, rows: Iterable[int], purpose: str, shape: tuple[int, ...], index: int = 0) -> Tensor:
        """Uniform numbers in [0, 1), `shape` for every row, joined along the first axis."""
        return self.each(rows, purpose, lambda g: torch.rand(shape, generator=g, device=self.device), index)


class PassDraws(NamedTuple):
    """What a masked pass draws for its rows, adversarial or not: noise and its level, sources of delta, routes."""

    noise: UInt8[Tensor, "b t c"]
    level: Float[Tensor, "b 1 1"] | None
    delta: Float[Tensor, "b t sites"]
    route: Bool[Tensor, "b t sites"]


def draw_pass(
    draws: RowDraws,
    rows: range,
    index: int,
    shape: tuple[int, int, int],
    routing: str,
    sources: str,
) -> PassDraws:
    """The draws of a step's pass number `index` for `rows` of the global batch; `shape` is (T, ΣC, sites)."""
    length, total, sites = shape
    levels = [LEVELS[sources](1, g) for g in draws.generators(rows, "level", index)]
    known = [level for level in levels if level is not None]
    return PassDraws(
        draws.each(rows, "noise", lambda g: draw_noise((1, length, total), g), index),
        torch.cat(known) if known else None,
        draws.uniform(rows, "delta", (1, length, sites), index),
        draws.each(rows, "route", lambda g: ROUTINGS[routing](1, length, sites, g), index),
    )
