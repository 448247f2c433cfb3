"""The random numbers of a step as a function of (seed, step, purpose, row of the global batch).

So a row gets the same masks and routes whichever process takes it, in however many parts, and whether or not the run was
cut off before; two processes, which take different rows, never draw the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from rankone.decomposition.masking.levels import LEVELS
from rankone.decomposition.masking.numbers import Generated, Hashed, Numbers
from rankone.decomposition.masking.routing import ROUTINGS
from rankone.runtime.hashing import mixed, mixed_each

PURPOSES = ("start", "coin", "noise", "level", "delta", "route", "pool", "fresh", "chance", "renewal")


def by_hash(device: torch.device) -> bool:
    """Whether the numbers of all rows are hashed at once there, in place of a generator for every row."""
    return device.type != "cpu"


class RowDraws:
    """The draws of one step, each row's from a seed of its own; those before the first step are of step −1.

    hashed: by numbers.Hashed, all rows at once; unless given, on every device but the CPU.
    """

    def __init__(self, seed: int, device: torch.device, step: int = -1, hashed: bool | None = None) -> None:
        self.seed, self.device, self.step = seed, device, step
        self.hashed = by_hash(device) if hashed is None else hashed
        self._generator = torch.Generator(device=device)

    def at(self, step: int) -> RowDraws:
        """The draws of that step."""
        return RowDraws(self.seed, self.device, step, self.hashed)

    def each(self, rows: range, purpose: str, draw: Callable[[Numbers], Tensor], index: int = 0) -> Tensor:
        """What `draw` makes of the numbers of every row, rows first. `index` counts draws of one purpose."""
        about = self.seed, self.step + 1, PURPOSES.index(purpose), index
        if not self.hashed:
            drawn = [draw(Generated(self._generator.manual_seed(mixed(*about, row)))) for row in rows]
            return drawn[0] if len(drawn) == 1 else torch.cat(drawn)
        numbers = torch.arange(rows.start, rows.stop, rows.step, device=self.device)
        return draw(Hashed(mixed_each(*about, last=numbers)))

    def uniform(self, rows: range, purpose: str, shape: tuple[int, ...], index: int = 0) -> Tensor:
        """Uniform numbers in [0, 1), `shape` for every row, joined along its first axis."""
        return self.each(rows, purpose, lambda numbers: numbers.uniform(*shape), index).flatten(0, 1)


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
    level = LEVELS[sources]
    return PassDraws(
        draws.each(rows, "noise", lambda numbers: numbers.bytes(length, total), index),
        None if level is None else draws.each(rows, "level", level, index),
        draws.uniform(rows, "delta", (1, length, sites), index),
        draws.each(rows, "route", lambda numbers: ROUTINGS[routing](numbers, length, sites), index),
    )
