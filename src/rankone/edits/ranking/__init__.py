"""Rankings of subcomponents: one criterion per name (edits/criteria.py), made by the same call."""

from __future__ import annotations

from rankone.edits.criteria import criterion_for, require_criterion
from rankone.edits.ranking.asked import Asked, Ranking, Sources
from rankone.edits.ranking.gradient import by_gradient
from rankone.edits.ranking.importance import by_contrast, by_specificity
from rankone.edits.ranking.label import by_label
from rankone.edits.ranking.token import by_token, by_unembedding

__all__ = ["RANKINGS", "Asked", "Ranking", "Sources", "rank"]

RANKINGS = {
    "specificity": by_specificity,
    "contrast": by_contrast,
    "gradient": by_gradient,
    "token": by_token,
    "unembedding": by_unembedding,
    "label": by_label,
}


def rank(asked: Asked, sources: Sources, by: str | None = None) -> Ranking:
    """Rank all subcomponents; RankOneError for an unknown criterion, and for what it lacks or does not use."""
    name = by or criterion_for(asked.given(), sources.harvest is not None)
    require_criterion(name, asked.given())
    return RANKINGS[name](asked, sources)
