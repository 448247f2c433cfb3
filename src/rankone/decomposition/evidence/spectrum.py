"""The mean importance of every subcomponent, sorted: how clearly the alive are set apart from the dead.

Counts of firings mislead, since tiny importances fire too. In a clear spectrum the mean importances fall in two heaps with a
wide gap between them on a logarithmic scale, and the bound of *alive* (1e-6) lies inside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rankone.decomposition.evidence.records import (
    GapAtAlive,
    Habits,
    Quantile,
    Spectrum,
    SubcomponentRow,
    WidestGap,
)
from rankone.decomposition.evidence.sparsity import ALIVE_MEAN_IMPORTANCE
from rankone.decomposition.evidence.text import EvidenceText

# The range in which an importance says neither that a part is needed nor that it is not.
UNDECIDED = (0.05, 0.95)
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def subcomponent_rows(text: EvidenceText) -> list[SubcomponentRow]:
    """One row per subcomponent, the highest mean importance first.

    density: share of positions with g > 0. undecided: share of its importance that lies between .05 and .95. minority:
    share of its importance at positions where v·x has the rarer sign; 0 where it reads one direction, ½ where both.
    """
    g = text.importance[text.present].double()
    mean, density = g.mean(0), (g > 0).double().mean(0)
    middle = (g * ((g > UNDECIDED[0]) & (g < UNDECIDED[1]))).sum(0) / g.sum(0).clamp_min(1e-300)
    minority = text.signs.amin(0) / text.signs.sum(0).clamp_min(1e-30)
    decomposition = text.model.decomposition
    names, means = decomposition.names(), mean.tolist()
    sites = [s for s, c in zip(decomposition.sites, decomposition.counts, strict=True) for _ in range(c)]
    densities, middles, minorities = density.tolist(), middle.tolist(), minority.tolist()
    return [
        SubcomponentRow(
            rank=rank,
            subcomponent=names[i],
            site=sites[i],
            mean_importance=means[i],
            density=densities[i],
            undecided=middles[i],
            minority=minorities[i],
        )
        for rank, i in enumerate(sorted(range(len(means)), key=lambda i: -means[i]), 1)
    ]


def widest_gap(means: Sequence[float]) -> WidestGap | None:
    """The widest step between neighbours of the positive means in log space; None with fewer than two of them.

    above, below: the two neighbours; decades: log10 of their ratio; count: how many means are at or over `above`.
    """
    order = sorted((m for m in means if m > 0), reverse=True)
    if len(order) < 2:
        return None
    decades, at = max((math.log10(a / b), -i) for i, (a, b) in enumerate(pairwise(order)))
    above, below = order[-at], order[1 - at]
    return WidestGap(above=above, below=below, decades=decades, count=1 - at)


def spectrum(rows: Sequence[SubcomponentRow]) -> Spectrum:
    """Summary of the sorted mean importances: quantiles, zeros, the widest gap, and the gap at the bound of alive."""
    means = [row.mean_importance for row in rows]
    alive = [m for m in means if m > ALIVE_MEAN_IMPORTANCE]
    dead = [m for m in means if 0 < m <= ALIVE_MEAN_IMPORTANCE]
    ordered = sorted(means)
    at_alive = GapAtAlive(
        above=min(alive, default=None),
        below=max(dead, default=0.0),
        decades=math.log10(min(alive) / max(dead)) if alive and dead else None,
    )
    quantiles = ((q, ordered[round(q * (len(ordered) - 1))]) for q in QUANTILES if means)
    return Spectrum(
        zero=sum(m == 0 for m in means),
        between_zero_and_alive=len(dead),
        widest_gap=widest_gap(means),
        gap_at_alive=at_alive,
        quantiles=tuple(Quantile(share=q, mean_importance=m) for q, m in quantiles),
    )


def habits(rows: Sequence[SubcomponentRow]) -> Habits:
    """What the importances of alive subcomponents look like: the figures that the verdict reads.

    undecided: share of all importance between .05 and .95. bipolar: share of alive subcomponents with at least a quarter
    of their importance on the rarer sign of v·x. half_on: share of them that fire at nine in ten positions at a mean
    importance between .05 and .95.
    """
    alive = [row for row in rows if row.mean_importance > ALIVE_MEAN_IMPORTANCE]
    total = math.fsum(row.mean_importance for row in alive)
    if not alive:
        return Habits(undecided=0.0, bipolar=0.0, half_on=0.0)
    low, high = UNDECIDED
    half_on = [row.density >= 0.9 and low < row.mean_importance < high for row in alive]
    return Habits(
        undecided=math.fsum(row.mean_importance * row.undecided for row in alive) / total,
        bipolar=sum(row.minority >= 0.25 for row in alive) / len(alive),
        half_on=sum(half_on) / len(alive),
    )
