"""Fresh adversarial sources: n signed ascents from a random start at every training step. Source: VPD's PGD loss."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from rankone.decomposition.adversary.config import FreshConfig
from rankone.decomposition.adversary.sources import Adversary
from rankone.decomposition.masking.draws import RowDraws


class FreshAdversary(Adversary):
    """Sources without a memory: r ← clamp(r + step_size · sign ∂loss/∂r, 0, 1) from r ~ U[0, 1]."""

    learns = False

    def __init__(self, config: FreshConfig, rows: int, length: int, channels: int, draws: RowDraws) -> None:
        super().__init__(config, rows, length, channels, draws)
        self.config = config

    def begin(self, draws: RowDraws) -> None:
        """A new random start."""
        super().begin(draws)
        self.source = self._uniform("fresh")

    def rate(self, step: int, steps: int) -> float:
        """The same throughout."""
        del step, steps
        return self.config.step_size

    def ascend(
        self, gradient: Float[Tensor, "sb st channels"], rate: float, rows: Bool[Tensor, "b 1 1"]
    ) -> None:
        """One signed step; sources that no adversarial row used have gradient 0 and stay."""
        del rows
        self.source = (self.source + rate * gradient.sign()).clamp(0, 1)
