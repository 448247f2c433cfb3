"""Scales of all parts at once under an L1 price, so that the fit chooses the few that it turns.

    L + PRICE · Σ_c |α_c − 1|,   and where |α_c − 1| < LEAST the part is left as it is.

The model is run with what is left; the gradient passes as if nothing were cut (straight through), so that a part can enter.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.scales import FIRST_STEP, Scales
from rankone.parts.book import Named

PRICE = 0.01
"""Nats per unit of |α − 1|: a part that removes less by a unit of its scale is not turned."""
LEAST = 0.2
"""Least |α − 1| that counts."""


class Sparse(Scales):
    """Scales most of which are exactly 1."""

    def alphas(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, "runs components"]:
        """α, 1 where it is too close to 1 to count."""
        alpha = parameters["alpha"]
        return alpha + (torch.where(self._kept(parameters), alpha, 1.0) - alpha).detach()

    def _kept(self, parameters: Mapping[str, Tensor]) -> Bool[Tensor, ...]:
        # A fit that was brought to a size has noted which parts it turned: a small size turns no fewer.
        return parameters["kept"] if "kept" in parameters else (parameters["alpha"] - 1).abs() >= LEAST

    def price(self, parameters: Mapping[str, Tensor]) -> Float[Tensor, " runs"]:
        """PRICE · Σ |α − 1| of every run, nats."""
        return PRICE * (parameters["alpha"] - 1).abs().sum(-1)

    def resized(self, parameters: Mapping[str, Tensor], size: float) -> dict[str, Tensor]:
        """1 + size · (α − 1) of the parts that are turned, and which they are."""
        kept = self._kept(parameters)
        return {"alpha": torch.where(kept, 1 + size * (parameters["alpha"] - 1), 1.0), "kept": kept}


def _starts(target: Target) -> list[Method]:
    """Everything as it is; and the single part inverted."""
    return [Sparse(target.parts, target.parts.names(), "l1"), _Inverted(target.parts, "l1", target.single)]


class _Inverted(Sparse):
    """Sparse scales of which one starts below 1, where the single scalar's first fit does."""

    def __init__(self, parts: Named, name: str, single: str) -> None:
        names = parts.names()
        super().__init__(parts, names, name)
        self._single = names.index(single)

    def start(self, runs: int, seeds: list[int]) -> dict[str, nn.Parameter]:
        """α = 1 but for the single part: [runs, components]."""
        alpha = super().start(runs, seeds)["alpha"].detach().clone()
        alpha[:, self._single] = 1 - FIRST_STEP
        return {"alpha": nn.Parameter(alpha)}


KINDS = (Kind("l1", "all scalars, L1", 13, 2, _starts, (0.1, 0.03)),)
