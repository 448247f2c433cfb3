"""The sources r of adversarial rows: their shape by scope, and which one each batch slot uses.

A source belongs to a batch slot, a position, both or neither (its scope), never to an example: the data in the slot
changes, the source stays. The last `sites` channels are the sources of the delta components.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from rankone.config import Config


class SourceConfig(Config, ABC):
    """What all adversaries have in common."""

    scope: Literal["bsc", "sc", "bc", "c"] = Field(
        default="bc", description="which of batch slot (b) and position (s) have sources of their own"
    )
    sources: int | None = Field(
        default=None,
        ge=1,
        description="scopes with b: number of sources along the batch, slots take turns; None is one a slot",
    )
    segments: int = Field(
        default=1, ge=1, description="scope bc: parts of a row, of equal length, each with a slot of its own"
    )
    fraction: float = Field(
        default=0.5, ge=0, le=1, description="share of adversarial rows (merged form only)"
    )

    @abstractmethod
    def searches(self, merged: bool) -> int:
        """Number of ascents, a forward and a backward each, before the pass of a step."""

    def owners(self, rows: int) -> int:
        """Number of sources along the batch."""
        return min(self.sources or rows, rows) if "b" in self.scope else 1

    @model_validator(mode="after")
    def _shares_slots(self) -> SourceConfig:
        if self.sources is not None and "b" not in self.scope:
            raise ValueError(f"scope '{self.scope}' has one source for the whole batch: leave `sources` out")
        if self.segments > 1 and self.scope != "bc":
            raise ValueError(f"scope '{self.scope}' does not split rows: `segments` goes with scope bc alone")
        return self


class Adversary(ABC):
    """Sources r [B·K or K, T or 1, channels] in [0, 1]: a pool of K for each slot, or K shared by all.

    A slot is a row, or with S segments one of the S equal parts of a row: B counts slots.

    A trainer calls `begin` at every step, makes the recipe's `searches` passes, each followed by `ascend`, and then the
    step's own pass, whose gradient goes to `ascend` too if the adversary `learns`.
    """

    learns: bool

    def __init__(
        self,
        config: SourceConfig,
        rows: int,
        length: int,
        channels: int,
        generator: torch.Generator,
        pool: int = 1,
    ) -> None:
        self.generator, self.pool, self.segments = generator, pool, config.segments
        rows, length = rows * config.segments, length // config.segments
        owners = config.owners(rows)
        # Batch slot i draws from the pool of owner i mod owners.
        self._owner = torch.arange(rows, device=generator.device) % owners
        self.slots = self._owner * pool
        shape = (owners * pool, length if "s" in config.scope else 1, channels)
        self.source: Float[Tensor, "sb st channels"] = self._uniform(shape)

    def _uniform(self, shape: tuple[int, ...] | torch.Size) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.generator.device)

    def by_slot(self, source: Float[Tensor, "sb st channels"]) -> Float[Tensor, "b st channels"]:
        """The source of every batch slot (or one that broadcasts to all); gradients come back summed per source."""
        one_each = self.pool == 1 and len(source) in (1, len(self.slots))
        return source if one_each else source[self.slots]

    def used(self, rows: Bool[Tensor, "b 1 1"]) -> Bool[Tensor, "sb 1 1"]:
        """Which sources an adversarial slot used in this step."""
        count = torch.zeros(len(self.source), device=rows.device)
        slots = rows.flatten().repeat_interleave(self.segments).float()
        return (count.index_add_(0, self.slots, slots) > 0).view(-1, 1, 1)

    def begin(self) -> None:
        """A new training step: with pools, every slot draws one of its K sources."""
        if self.pool > 1:
            device = self.generator.device
            drawn = torch.randint(self.pool, self._owner.shape, generator=self.generator, device=device)
            self.slots = self._owner * self.pool + drawn

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
