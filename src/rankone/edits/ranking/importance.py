"""Rankings by mean causal importance: specific to some domains, or more important on some than on others."""

from __future__ import annotations

from rankone.edits.ranking.asked import Asked, Ranking, Sources
from rankone.edits.selection import contrast, specificity
from rankone.harvest.reading.summary import Importances


def by_specificity(asked: Asked, sources: Sources) -> Ranking:
    """Mean importance on `of` (of several domains, the smallest) minus the largest on any other domain."""
    found = sources.importances
    score = specificity(found, *asked.of)
    return Ranking(
        f"Most specific to {', '.join(asked.of)}",
        "specificity",
        "mean causal importance; specificity: on these domains less the largest on another",
        found.names,
        score,
        _columns(found),
    )


def by_contrast(asked: Asked, sources: Sources) -> Ranking:
    """Mean importance over the domains `of` minus that over the domains `against`."""
    found = sources.importances
    score = contrast(found, asked.of, asked.against)
    return Ranking(
        f"More important on {', '.join(asked.of)} than on {', '.join(asked.against)}",
        "contrast",
        "mean causal importance; contrast: difference of the means of the two groups",
        found.names,
        score,
        _columns(found),
    )


def _columns(found: Importances) -> dict[str, list[str]]:
    return {domain: [f"{v:.3f}" for v in found.of(domain).tolist()] for domain in found.domains}
