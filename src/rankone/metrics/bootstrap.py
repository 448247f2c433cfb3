"""Bootstrap over passages: what a figure might have been on other text of the same kind (Efron 1979; percentile intervals).

SciPy's `bootstrap` draws each sample alone; here many runs share each draw of passages, as they were measured on the same.
A test compares both.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from rankone.metrics.damage import LEVEL

DRAWS = 2000


def resampled(
    sums: Float[Tensor, "runs passages"],
    tokens: Int[Tensor, " passages"],
    seed: int = 0,
    draws: int = DRAWS,
) -> Float[Tensor, "draws runs"]:
    """The ratio Σ sums / Σ tokens of every run on passages drawn anew with replacement, the same for all runs in a draw.

    sums: nats over the scored tokens of each passage. Other seeds draw other passages: those of other text. NaN for a draw
    without a scored token.
    """
    generator = torch.Generator().manual_seed(seed)
    count = len(tokens)
    drawn = torch.randint(count, (draws, count), generator=generator)
    times = torch.zeros(draws, count, dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(draws, count, dtype=torch.float64)
    )
    return (times @ sums.double().T) / (times @ tokens.double()).unsqueeze(1)


def percentile_interval(values: Float[Tensor, " draws"]) -> tuple[float, float]:
    """The middle 95% of the draws; those that are NaN are left out."""
    return float(values.nanquantile((1 - LEVEL) / 2)), float(values.nanquantile((1 + LEVEL) / 2))


def joined(mean: float, *intervals: tuple[float | None, float | None]) -> tuple[float | None, float | None]:
    """The interval over several sources of chance, from that over each: squares of distances from the mean are added.

    Each of two intervals over runs and over passages counts what is peculiar to one run on one passage, so the joined one
    errs on the wide side. (None, None) where one is not known.
    """
    below, above = 0.0, 0.0
    for low, high in intervals:
        if low is None or high is None:
            return None, None
        # In this order a NaN stays one.
        below, above = math.hypot(below, max(mean - low, 0.0)), math.hypot(above, max(high - mean, 0.0))
    return mean - below, mean + above
