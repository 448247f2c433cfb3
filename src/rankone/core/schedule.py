"""Values that change over a run: constant, linear and cosine schedules with an optional warm-up."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from rankone.core.config import Config


class Schedule(Config):
    """A value going from `start` to `end` over the first `until` of the run, then constant.

    `warmup` is the share of the run over which the value first rises linearly from 0 to `start`.
    """

    start: float
    end: float | None = None
    shape: Literal["linear", "cosine"] = "linear"
    until: float = Field(default=1.0, gt=0, le=1)
    warmup: float = Field(default=0.0, ge=0, lt=1)

    def at(self, step: int, steps: int) -> float:
        """Value at `step` of `steps` (0-based)."""
        progress = step / max(1, steps - 1)
        if progress < self.warmup:
            return self.start * progress / self.warmup
        if self.end is None:
            return self.start
        share = min(1.0, (progress - self.warmup) / max(1e-12, self.until - self.warmup))
        if self.shape == "cosine":
            share = 0.5 * (1 - math.cos(math.pi * share))
        return self.start + (self.end - self.start) * share
