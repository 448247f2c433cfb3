"""Damage: the rise of cross-entropy that an edit causes on a text, with its standard error and confidence interval.

The same passages are scored before and after, so their differences are paired, and what passages have in common drops
out. Passages differ in length, so the rise per token is a ratio of sums, R = Σ d_i / Σ n_i; its standard error is that of
the ratio estimator (Cochran 1977, Sampling Techniques, §2.11 and 6.3), the interval Student's with (passages − 1) degrees
of freedom. Tokens of one passage depend on each other; passages are taken to be independent.
"""

# SciPy's functions have no types.
# pyright: reportUnknownMemberType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Mapping

import torch
from scipy.special import stdtrit

from rankone.core.errors import RankOneError
from rankone.metrics.cross_entropy import PassageLosses
from rankone.metrics.damage_record import Damage

LEVEL = 0.95


def damage(base: PassageLosses, edited: PassageLosses, level: float = LEVEL) -> Damage:
    """Compare losses of the same passages before and after an edit; RankOneError where they are not the same."""
    if not torch.equal(base.tokens, edited.tokens):
        raise RankOneError("the losses to compare are of different passages: score the same text twice.")
    paired = edited.beyond(base)
    rise, error, passages = paired.mean, paired.error, int((base.tokens > 0).sum())
    low = high = None
    if error is not None:
        half = half_width(error, passages, level)
        low, high = rise - half, rise + half
    return Damage(
        base=base.mean,
        edited=edited.mean,
        rise=rise,
        error=error,
        low=low,
        high=high,
        level=level,
        tokens=int(base.tokens.sum()),
        passages=passages,
    )


def half_width(error: float, count: int, level: float = LEVEL) -> float:
    """Half of Student's two-sided interval of a mean over `count` draws, from its standard error."""
    # What scipy.stats.t.ppf asks for: importing scipy.stats takes half a second, and everything that edits comes here.
    return float(stdtrit(count - 1, (1 + level) / 2)) * error


def damages(
    base: Mapping[str, PassageLosses], edited: Mapping[str, PassageLosses], level: float = LEVEL
) -> dict[str, Damage]:
    """By domain, in the order of `edited`."""
    return {domain: damage(base[domain], losses, level) for domain, losses in edited.items()}
