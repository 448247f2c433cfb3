"""The sources r of adversarial rows: their shape by scope, and which one each batch slot uses.

A source belongs to a batch slot, a position, both or neither (its scope), never to an example: the data in the slot
changes, the source stays. The last `sites` channels are the sources of the deltas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.decomposition.adversary.config import SourceConfig
from rankone.decomposition.masking.draws import RowDraws
from rankone.runtime.distributed import Ranks, current


class Adversary(ABC):
    """Sources r [B·K or K, T or 1, channels] in [0, 1]: a pool of K for each slot, or K shared by all.

    A slot is a row, or with S segments one of the S equal parts of a row: B counts slots. Among several processes,
    sources with a slot of their own live where that slot's row is; sources that slots share are the same on all, and
    their gradient is summed over all.

    A trainer calls `begin` at every step, makes the recipe's `searches` passes, each followed by `ascend`, and then the
    step's own pass, whose gradient goes to `ascend` too if the adversary `learns`. Passes add up in `gradient`, shaped as
    `source`, which stands through the run: memory of that size costs more to get from the system than to fill.
    """

    learns: bool
    compiled = False

    def __init__(
        self,
        config: SourceConfig,
        rows: int,
        length: int,
        channels: int,
        draws: RowDraws,
        pool: int = 1,
        ranks: Ranks | None = None,
    ) -> None:
        self.draws, self.pool, self.segments = draws, pool, config.segments
        self.ranks = current() if ranks is None else ranks
        taken = self.ranks.share(rows)
        slots = range(taken.start * config.segments, taken.stop * config.segments)
        rows, length = rows * config.segments, length // config.segments
        owners = config.owners(rows)
        self.shared = owners < rows
        # Numbers of the owners whose sources are here; slot i draws from the pool of owner i mod owners.
        self.owners = range(owners) if self.shared else slots
        self._slots = slots
        self._owner = torch.arange(slots.start, slots.stop, device=draws.device) % owners - self.owners.start
        self.slots = self._owner * pool
        self._shape = (pool, length if "s" in config.scope else 1, channels)
        self._ascents = 0
        self.source: Float[Tensor, "sb st channels"] = self._uniform("start")
        self.gradient = torch.empty_like(self.source)

    def _uniform(self, purpose: str) -> Tensor:
        """New sources, each owner's drawn by itself."""
        return self.draws.uniform(self.owners, purpose, self._shape, self._ascents)

    def place(self, rows: slice = slice(None)) -> slice | Int[Tensor, " b"]:
        """Where the sources of the slots of `rows` are: a slice where they lie in order, or all have the same one."""
        if len(self.source) == 1:
            return slice(None)
        if self.pool == 1 and not self.shared:
            start, stop, _ = rows.indices(len(self.slots) // self.segments)
            return slice(start * self.segments, stop * self.segments)
        return self.slots.view(-1, self.segments)[rows].flatten()

    def used(self, rows: Bool[Tensor, "b 1 1"]) -> Bool[Tensor, "sb 1 1"]:
        """Which sources an adversarial slot used in this step, on whichever process."""
        count = torch.zeros(len(self.source), device=rows.device)
        slots = rows.flatten().repeat_interleave(self.segments).float()
        return (self.summed(count.index_add_(0, self.slots, slots)) > 0).view(-1, 1, 1)

    def summed(self, values: Tensor) -> Tensor:
        """Values per source, over all processes that have slots of it; in place."""
        return self.ranks.sum_(values) if self.shared else values

    def begin(self, draws: RowDraws) -> None:
        """A new training step with these draws: with pools, every slot draws one of its K sources."""
        self.draws, self._ascents = draws, 0
        if self.pool > 1:
            drawn = self.draws.each(self._slots, "pool", lambda numbers: numbers.integers(0, self.pool, 1))
            self.slots = self._owner * self.pool + drawn.flatten()

    @abstractmethod
    def ascend(
        self, gradient: Float[Tensor, "sb st channels"], rate: float, rows: Bool[Tensor, "b 1 1"]
    ) -> None:
        """One step up the gradient for the sources that adversarial `rows` used."""

    @abstractmethod
    def rate(self, step: int, steps: int) -> float:
        """Step size at training step `step` of `steps`."""

    def tensors(self) -> dict[str, Tensor]:
        """Its state that outlives a step."""
        return {}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put a saved state back."""
        for name, value in tensors.items():
            getattr(self, name).copy_(value)
