"""Targeted decomposition: only the mechanisms of a narrow text are wanted, the rest of the model stays delta's.

A batch holds narrow rows first and broad rows after them. On narrow rows the subcomponents have to give the target's
output whatever delta's mask is; on broad rows that mask is 1, so a site is W + Σ_c (m_c − 1) u_c v_cᵀ, and a subcomponent
has to be important there or harmless to remove. There is no faithfulness loss: V U need not be W. Source: the targeted
variant (tPD) in VPD's public code.
"""

from __future__ import annotations

from pydantic import Field

from rankone.core.config import Config
from rankone.text.mix import Mixture


class Targeted(Config):
    """What a targeted run wants explained, beside the broad text of the recipe's own `mixture`."""

    mixture: Mixture = Field(min_length=1, description="the narrow text")
    fraction: float = Field(default=0.5, gt=0, lt=1, description="share of a batch's rows that are narrow")
    importance_decay: float = Field(
        default=0.1, ge=0, description="weight decay of a subcomponent: this times 1 − its highest importance"
    )
    contrast: float = Field(
        default=0.0,
        ge=0,
        description="initialisation principal: narrow second moment minus this times the broad",
    )

    def narrow_rows(self, rows: int) -> int:
        """Number of narrow rows in a batch of `rows`."""
        return narrow_rows(rows, self.fraction)


def narrow_rows(rows: int, fraction: float) -> int:
    """`fraction` of `rows` in whole rows, at least one narrow and one broad (`rows` of 2 or more)."""
    return min(max(1, round(rows * fraction)), rows - 1)
