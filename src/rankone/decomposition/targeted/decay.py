"""Weight decay of a targeted run: subcomponents that are important nowhere shrink away.

After each optimiser step u_c and v_c are multiplied by 1 − η λ (1 − g_c), η the learning rate, λ the coefficient and g_c
the highest importance of the subcomponent in recent batches. Source: VPD's targeted variant, where λ is 0.1.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.decomposition.model import Decomposition
from rankone.decomposition.parallel.sharding import beside

# Share of the highest importance that is left after a step without a higher one.
MEMORY = 0.99


class ImportanceDecay:
    """The decay with its memory: g_c ← max(highest g_c of the batch, 0.99 g_c), 1 at the start."""

    def __init__(self, coefficient: float, decomposition: Decomposition, device: torch.device) -> None:
        self.coefficient, self.decomposition = coefficient, decomposition
        self.highest = torch.ones(decomposition.total, device=device)

    @torch.no_grad()
    def __call__(self, logit: Float[Tensor, " c"], rate: float) -> None:
        """Count a batch's highest importance logit of each subcomponent in and shrink U and V at learning rate `rate`."""
        torch.maximum(logit.float().clamp(0, 1), MEMORY * self.highest, out=self.highest)
        keep = 1 - rate * self.coefficient * (1 - self.highest)
        for site, share_kept in zip(
            self.decomposition.sites, keep.split(self.decomposition.counts), strict=True
        ):
            read, write = self.decomposition.factors(site)
            read.mul_(beside(read, share_kept))
            write.mul_(beside(write, share_kept[:, None]))
