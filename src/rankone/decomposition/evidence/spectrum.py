"""The mean importance of every subcomponent, sorted: how clearly the alive are set apart from the dead.

Counts of firings mislead, since tiny importances fire too. In a clear spectrum the mean importances fall in two heaps with a
wide gap between them on a logarithmic scale, and the bound of *alive* (1e-6) lies inside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rankone.decomposition.evidence.sparsity import ALIVE_MEAN_IMPORTANCE
from rankone.decomposition.evidence.text import EvidenceText

# The range in which an importance says neither that a part is needed nor that it is not.
UNDECIDED = (0.05, 0.95)
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def subcomponent_rows(text: EvidenceText) -> list[dict[str, Any]]:
    """One row per subcomponent, the highest mean importance first.

    density: share of positions with g > 0. undecided: share of its importance that lies between .05 and .95. minority:
    share of its importance at positions where v·x has the rarer sign; 0 where it reads one direction, ½ where both.
    """
    g = text.importance[text.present].double()
    mean, density = g.mean(0), (g > 0).double().mean(0)
    middle = (g * ((g > UNDECIDED[0]) & (g < UNDECIDED[1]))).sum(0) / g.sum(0).clamp_min(1e-300)
    minority = text.signs.amin(0) / text.signs.sum(0).clamp_min(1e-30)
    decomposition = text.model.decomposition
    columns = {
        "subcomponent": decomposition.names(),
        "site": [s for s, c in zip(decomposition.sites, decomposition.counts, strict=True) for _ in range(c)],
        "mean_importance": mean.tolist(),
        "density": density.tolist(),
        "undecided": middle.tolist(),
        "minority": minority.tolist(),
    }
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    rows.sort(key=lambda row: -row["mean_importance"])
    return [{"rank": i, **row} for i, row in enumerate(rows, 1)]


def widest_gap(means: Sequence[float]) -> dict[str, Any] | None:
    """The widest step between neighbours of the positive means in log space; None with fewer than two of them.

    above, below: the two neighbours; decades: log10 of their ratio; count: how many means are at or over `above`.
    """
    order = sorted((m for m in means if m > 0), reverse=True)
    if len(order) < 2:
        return None
    decades, at = max((math.log10(a / b), -i) for i, (a, b) in enumerate(pairwise(order)))
    above, below = order[-at], order[1 - at]
    return {"above": above, "below": below, "decades": decades, "count": 1 - at}


def spectrum(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summary of the sorted mean importances: quantiles, zeros, the widest gap, and the gap at the bound of alive."""
    means = [row["mean_importance"] for row in rows]
    alive = [m for m in means if m > ALIVE_MEAN_IMPORTANCE]
    dead = [m for m in means if 0 < m <= ALIVE_MEAN_IMPORTANCE]
    ordered = sorted(means)
    return {
        "zero": sum(m == 0 for m in means),
        "between_zero_and_alive": len(dead),
        "widest_gap": widest_gap(means),
        "gap_at_alive": {
            "above": min(alive, default=None),
            "below": max(dead, default=0.0),
            "decades": math.log10(min(alive) / max(dead)) if alive and dead else None,
        },
        "quantiles": {str(q): ordered[round(q * (len(ordered) - 1))] for q in QUANTILES} if means else {},
    }


def habits(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """What the importances of alive subcomponents look like: the figures that the verdict reads.

    undecided: share of all importance between .05 and .95. bipolar: share of alive subcomponents with at least a quarter
    of their importance on the rarer sign of v·x. half_on: share of them that fire at nine in ten positions at a mean
    importance between .05 and .95.
    """
    alive = [row for row in rows if row["mean_importance"] > ALIVE_MEAN_IMPORTANCE]
    total = math.fsum(row["mean_importance"] for row in alive)
    if not alive:
        return {"undecided": 0.0, "bipolar": 0.0, "half_on": 0.0}
    low, high = UNDECIDED
    half_on = [r["density"] >= 0.9 and low < r["mean_importance"] < high for r in alive]
    return {
        "undecided": math.fsum(r["mean_importance"] * r["undecided"] for r in alive) / total,
        "bipolar": sum(r["minority"] >= 0.25 for r in alive) / len(alive),
        "half_on": sum(half_on) / len(alive),
    }
