"""Rankings of subcomponents: one criterion per name, made by the same call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rankone.core.errors import RankOneError, nearest
from rankone.edits.ranking.asked import Asked, Ranking, Sources
from rankone.edits.ranking.gradient import by_gradient
from rankone.edits.ranking.importance import by_contrast, by_specificity
from rankone.edits.ranking.label import by_label
from rankone.edits.ranking.token import by_token, by_unembedding

__all__ = ["CRITERIA", "Asked", "Criterion", "Ranking", "Sources", "criterion_for", "rank"]


@dataclass(frozen=True)
class Criterion:
    """How a ranking is made, and the fields of `Asked` that it needs and that it may use besides."""

    make: Callable[[Asked, Sources], Ranking]
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()


CRITERIA = {
    "specificity": Criterion(by_specificity, ("of",)),
    "contrast": Criterion(by_contrast, ("of", "against")),
    "gradient": Criterion(by_gradient, ("of",), ("against", "penalty")),
    "token": Criterion(by_token, ("token",)),
    "unembedding": Criterion(by_unembedding, ("token",)),
    "label": Criterion(by_label, ("label",)),
}


def criterion_for(asked: Asked, harvest: bool) -> str:
    """The criterion that what was asked for calls for, where none was named."""
    if asked.label is not None:
        return "label"
    if asked.token is not None:
        return "token" if harvest else "unembedding"
    return "contrast" if asked.against else "specificity"


def rank(asked: Asked, sources: Sources, by: str | None = None) -> Ranking:
    """Rank all subcomponents; RankOneError for an unknown criterion, and for what it lacks or does not use."""
    name = by or criterion_for(asked, sources.harvest is not None)
    if name not in CRITERIA:
        raise RankOneError(
            f"unknown criterion '{name}'; there are {', '.join(CRITERIA)}.{nearest(name, list(CRITERIA))}"
        )
    criterion, given = CRITERIA[name], asked.given()
    missing = [field for field in criterion.needs if field not in given]
    if missing:
        raise RankOneError(f"a ranking by {name} needs --{missing[0]}.")
    unused = [field for field in given if field not in (*criterion.needs, *criterion.may)]
    if unused:
        raise RankOneError(
            f"--{unused[0]} changes nothing in a ranking by {name}: leave it out, or name another --by."
        )
    if "penalty" in given and "against" not in given:
        raise RankOneError("--penalty weighs what is done to --against: give both.")
    return criterion.make(asked, sources)
