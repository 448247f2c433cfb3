"""Wilson's interval: what share is credible after so many draws.

SciPy's (`binomtest(k, n).proportion_ci(method="wilson")`) takes whole counts alone; ours may be effective numbers, so the
formula stands here, and a test compares both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Z = 1.96


def wilson_interval(share: float, draws: float) -> tuple[float, float]:
    """Ends of the Wilson score interval (1927) for a share seen over `draws` draws; 95 % two-sided.

    (0, 1) without draws. `draws` may be an effective number.
    """
    if draws <= 0:
        return 0.0, 1.0
    centre = share + Z * Z / (2 * draws)
    spread = Z * math.sqrt(share * (1 - share) / draws + Z * Z / (4 * draws * draws))
    low, high = ((centre + side * spread) / (1 + Z * Z / draws) for side in (-1, 1))
    return max(0.0, low), min(1.0, high)


def wilson_lower(share: float, draws: float) -> float:
    """The lower end alone."""
    return wilson_interval(share, draws)[0]


def effective_draws(weights: Sequence[float], counts: Sequence[int]) -> float:
    """Kish's effective sample size of counts[i] draws of weight weights[i] each: (Σ w)² / Σ w²."""
    pairs = list(zip(weights, counts, strict=True))
    total, squares = sum(w * n for w, n in pairs), sum(w * w * n for w, n in pairs)
    return total * total / squares if squares > 0 else 0.0
