"""What a source makes the parts of one site from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.models.sites import Site, weight_of
from rankone.parts.moments import SiteMoments
from rankone.parts.parts import FactorPair
from rankone.parts.ridge import CONTRAST, RIDGE


@dataclass(frozen=True)
class Material:
    """One site, and what its text says; `wanted` and `others` are None where no text was read.

    wanted: moments on the text that is looked for. others: the mean of those on all other text. count: parts wanted of
    sources that have no natural number of them. numbers: of sources that have, those that are wanted (None: all).
    seed: of random ones.
    """

    site: Site
    wanted: SiteMoments | None = None
    others: SiteMoments | None = None
    count: int = 1
    numbers: Sequence[int] | None = None
    seed: int = 0
    contrast: float = CONTRAST
    ridge: float = RIDGE

    @property
    def weight(self) -> Float[Tensor, "d_out d_in"]:
        """The site's weight in fp32."""
        return weight_of(self.site).float()

    def both(self) -> tuple[SiteMoments, SiteMoments]:
        """Moments on the wanted and on the other text; RankOneError where they are missing."""
        if self.wanted is None or self.others is None:
            raise RankOneError("this source of parts reads text: give moments of it.")
        return self.wanted, self.others


@dataclass(frozen=True)
class Made:
    """Parts of one site: V [d_in, C], U [C, d_out], and their numbers."""

    factors: FactorPair
    numbers: Int[Tensor, " c"]


def numbered(factors: FactorPair) -> Made:
    """Parts with the numbers 0 … C − 1, best first."""
    return Made(factors, torch.arange(factors[0].shape[1]))


def along_outputs(directions: Float[Tensor, "c d_out"], weight: Float[Tensor, "d_out d_in"]) -> Made:
    """Parts w wᵀ W for unit output directions w: u = w, v = Wᵀ w. Scaling one scales the site's output along w."""
    return numbered(((directions @ weight).T.contiguous(), directions.contiguous()))
