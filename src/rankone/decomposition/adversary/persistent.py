"""Persistent adversarial sources: an Adam ascent on r that outlives the training step. Source: VPD's persistent PGD."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankone.decomposition.adversary.config import PersistentConfig
from rankone.decomposition.adversary.sources import Adversary
from rankone.decomposition.masking.draws import RowDraws
from rankone.decomposition.masking.kernels import kernel
from rankone.runtime.adam import adam_move


def _climb(
    source: Tensor,
    first: Tensor,
    second: Tensor,
    gradient: Tensor,
    ascents: Tensor,
    keep: Tensor,
    length: Tensor,
    betas: tuple[float, float],
) -> None:
    """A step of Adam up the gradient, in place; `keep` is 0 for sources that stay."""
    move = adam_move(first, second, gradient, ascents.clamp_min(1), length, betas, keep)
    source.add_(move).clamp_(0, 1)


class PersistentAdversary(Adversary):
    """Sources with their Adam moments."""

    learns = True

    def __init__(
        self, config: PersistentConfig, rows: int, length: int, channels: int, draws: RowDraws
    ) -> None:
        super().__init__(config, rows, length, channels, draws, config.pool)
        self.config = config
        self.first = torch.zeros_like(self.source)
        self.second = torch.zeros_like(self.source)
        self.ascents = torch.zeros(len(self.source), 1, 1, device=draws.device)

    def rate(self, step: int, steps: int) -> float:
        """As scheduled."""
        return self.config.learning_rate.at(step, steps)

    def ascend(
        self, gradient: Float[Tensor, "sb st channels"], rate: float, rows: Bool[Tensor, "b 1 1"]
    ) -> None:
        """One bias-corrected Adam step up the gradient, clamped to [0, 1], for the sources an adversarial slot used."""
        moved = self.used(rows)
        self.ascents += moved
        keep = moved.float()
        # The rate as a tensor: a compiled kernel is made anew for every number.
        length = torch.tensor(rate, device=gradient.device) * keep
        betas = self.config.beta1, self.config.beta2
        climb = kernel(_climb, self.compiled)
        climb(self.source, self.first, self.second, gradient, self.ascents, keep, length, betas)
        self._ascents += 1
        if self.config.lifetime is not None:
            self._renew(self.config.lifetime, moved)

    def _renew(self, lifetime: float, moved: Bool[Tensor, "sb 1 1"]) -> None:
        """Draw some sources anew, one ascent in `lifetime`: a model can learn to withstand a few old sources alone."""
        chance = self.draws.uniform(self.owners, "chance", (self.pool, 1, 1), self._ascents)
        old = (moved & (chance < 1 / lifetime)).float()
        self.source = self.source.lerp(self._uniform("renewal"), old)
        for state in (self.first, self.second, self.ascents):
            state *= 1 - old

    def tensors(self) -> dict[str, Tensor]:
        """Its whole state."""
        return {"source": self.source, "first": self.first, "second": self.second, "ascents": self.ascents}
