"""Rankings by mean causal importance: specific to some domains, or more important on some than on others."""

from __future__ import annotations

from rankone.edits.ranking.asked import Asked, Ranking, Sources
from rankone.edits.selection import contrast, specificity
from rankone.harvest.reading.summary import Importances


def by_specificity(asked: Asked, sources: Sources) -> Ranking:
    """Mean importance on `of` (of several domains, the smallest) minus the largest on any other domain."""
    importances = sources.importances
    score = specificity(importances, *asked.of)
    return Ranking(
        f"Most specific to {', '.join(asked.of)}",
        "specificity",
        f"{sources.meaning}; specificity: on these domains less the largest on another",
        importances.names,
        score,
        _columns(importances),
    )


def by_contrast(asked: Asked, sources: Sources) -> Ranking:
    """Mean importance over the domains `of` minus that over the domains `against`."""
    importances = sources.importances
    score = contrast(importances, asked.of, asked.against)
    return Ranking(
        f"More important on {', '.join(asked.of)} than on {', '.join(asked.against)}",
        "contrast",
        f"{sources.meaning}; contrast: difference of the means of the two groups",
        importances.names,
        score,
        _columns(importances),
    )


def _columns(importances: Importances) -> dict[str, list[float]]:
    return {domain: [round(v, 3) for v in importances.of(domain).tolist()] for domain in importances.domains}
