"""Targeted decomposition: only the mechanisms of a narrow text are wanted, the rest of the model stays delta's.

A batch holds narrow rows first and broad rows after them. On narrow rows the subcomponents have to give the target's
output whatever delta's mask is; on broad rows that mask is 1, so a site is W + Σ_c (m_c − 1) u_c v_cᵀ, and a subcomponent
has to be important there or harmless to remove. There is no faithfulness loss: V U need not be W. Source: the targeted
variant (tPD) in VPD's public code.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from pydantic import Field

from rankone.core.config import Config
from rankone.text.mixture import Mixture


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
        """Number of narrow rows in a batch of `rows`; at least one is narrow and one broad (`rows` of 2 or more)."""
        return min(max(1, round(rows * self.fraction)), rows - 1)


def in_batches(
    narrow: Int[np.ndarray, "n t"], broad: Int[np.ndarray, "m t"], steps: int, rows: int, count: int
) -> Int[np.ndarray, "all t"]:
    """`steps` batches of `rows` rows one after the other, the first `count` of each narrow.

    A stream with too few rows for all steps is read again from its start.
    """
    first = np.arange(steps * count) % len(narrow)
    second = np.arange(steps * (rows - count)) % len(broad)
    parts = [narrow[first].reshape(steps, count, -1), broad[second].reshape(steps, rows - count, -1)]
    return np.concatenate(parts, axis=1).reshape(steps * rows, -1)


def streams(
    batches: Int[np.ndarray, "all t"], rows: int, count: int
) -> tuple[Int[np.ndarray, "n t"], Int[np.ndarray, "m t"]]:
    """The narrow and the broad rows of what `in_batches` made."""
    length = batches.shape[1]
    by_step = batches.reshape(-1, rows, length)
    return by_step[:, :count].reshape(-1, length), by_step[:, count:].reshape(-1, length)
