"""Persistent adversarial sources: an Adam ascent on r that outlives the training step.

A source belongs to a batch slot, a position, both or neither (its scope), never to an example: the data in the slot
changes, the source stays. The last `sites` channels are the sources of the delta components.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankone.decomposition.config import Adversary

ADAM_EPSILON = 1e-8


class PersistentAdversary:
    """Sources r [B or 1, T or 1, channels] in [0, 1] with their Adam moments."""

    def __init__(
        self, config: Adversary, rows: int, length: int, channels: int, generator: torch.Generator
    ) -> None:
        count = min(config.sources or rows, rows) if "b" in config.scope else 1
        shape = (count, length if "s" in config.scope else 1, channels)
        # Batch slot i takes source i mod count.
        self.slots = torch.arange(rows, device=generator.device) % count
        self.config, self.generator = config, generator
        self.source: Float[Tensor, "sb st channels"] = torch.rand(
            shape, generator=generator, device=generator.device
        )
        self.first = torch.zeros_like(self.source)
        self.second = torch.zeros_like(self.source)
        self.ascents = torch.zeros(shape[0], 1, 1, device=generator.device)

    def by_slot(self, source: Float[Tensor, "sb st channels"]) -> Float[Tensor, "b st channels"]:
        """The source of every batch slot (or one that broadcasts to all); gradients come back summed per source."""
        return source if len(source) in (1, len(self.slots)) else source[self.slots]

    def ascend(
        self, gradient: Float[Tensor, "sb st channels"], learning_rate: float, rows: Bool[Tensor, "b 1 1"]
    ) -> None:
        """One bias-corrected Adam step up the gradient, clamped to [0, 1], for the sources an adversarial slot used."""
        used = torch.zeros(len(self.source), device=rows.device).index_add_(
            0, self.slots, rows.flatten().float()
        )
        moved = (used > 0).view(-1, 1, 1)
        b1, b2 = self.config.beta1, self.config.beta2
        self.ascents += moved
        keep = moved.float()
        self.first.lerp_(gradient, (1 - b1) * keep)
        self.second.lerp_(gradient.square(), (1 - b2) * keep)
        count = self.ascents.clamp_min(1)
        step = (self.first / (1 - b1**count)) / ((self.second / (1 - b2**count)).sqrt() + ADAM_EPSILON)
        self.source = (self.source + learning_rate * keep * step).clamp(0, 1)
        if self.config.lifetime is not None:
            self._renew(self.config.lifetime, moved)

    def _renew(self, lifetime: float, moved: Bool[Tensor, "sb 1 1"]) -> None:
        """Draw some sources anew, one ascent in `lifetime`: a model can learn to withstand a few old sources alone."""
        device = self.source.device
        chance = torch.rand(moved.shape, generator=self.generator, device=device)
        old = (moved & (chance < 1 / lifetime)).float()
        fresh = torch.rand(self.source.shape, generator=self.generator, device=device)
        self.source = self.source.lerp(fresh, old)
        for state in (self.first, self.second, self.ascents):
            state *= 1 - old

    def tensors(self) -> dict[str, Tensor]:
        """Its whole state."""
        return {"source": self.source, "first": self.first, "second": self.second, "ascents": self.ascents}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Put a saved state back."""
        for name in ("source", "first", "second", "ascents"):
            getattr(self, name).copy_(tensors[name])
