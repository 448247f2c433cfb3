"""Which subcomponents to turn: rankings by importance, and the choice of a single one by its evidence on all domains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from rankone.errors import RankOneError
from rankone.harvest.summary import Importances

# A subcomponent must matter at a tenth of the forget positions at least to be worth turning alone.
LEAST_IMPORTANCE = 0.1


def contrast(importances: Importances, forget: str, retain: str) -> Float[Tensor, " subcomponents"]:
    """Mean importance on the forget domain minus that on the retain domain (the published ranking)."""
    return importances.of(forget) - importances.of(retain)


def specificity(importances: Importances, forget: str) -> Float[Tensor, " subcomponents"]:
    """Mean importance on the forget domain minus the largest on any other domain."""
    return importances.of(forget) - importances.others(forget)


def top_names(importances: Importances, score: Float[Tensor, " subcomponents"], count: int) -> list[str]:
    """Names of the `count` highest-scoring subcomponents."""
    return [importances.names[int(i)] for i in score.topk(min(count, len(score))).indices]


def specific_names(importances: Importances, forget: str, ratio: float) -> list[str]:
    """All subcomponents whose importance on the forget domain is over `ratio` times that on every other domain."""
    own, others = importances.of(forget), importances.others(forget)
    chosen = (own > ratio * others) & (own > 1e-3)
    return [name for name, keep in zip(importances.names, chosen.tolist(), strict=True) if keep]


@dataclass(frozen=True)
class Candidate:
    """A shortlisted subcomponent with its measured response on training text."""

    name: str
    specificity: float
    rises: Mapping[str, float]

    def worst(self, forget: str) -> tuple[float, str]:
        """The largest rise on any other domain, and the domain."""
        return max((rise, domain) for domain, rise in self.rises.items() if domain != forget)


def pick_single(
    importances: Importances,
    forget: str,
    respond: Callable[[str], Mapping[str, float]],
    shortlist: int = 24,
    tolerance: float = 0.05,
) -> tuple[Candidate, list[Candidate]]:
    """The most specific single subcomponent by its evidence over all domains, on training text only.

    Rule: shortlist the most specific subcomponents by importance; measure each one's response (`respond(name)`: rise
    of CE per domain at one fixed probe scale); among those whose rise on every other domain is below `tolerance`
    take the largest rise on the forget domain. Where none keeps the tolerance, take the largest rise on the forget
    domain minus ten times the worst rise elsewhere.
    """
    score = specificity(importances, forget)
    names = [n for n in top_names(importances, score, shortlist)]
    table = dict(zip(importances.names, score.tolist(), strict=True))
    names = [n for n in names if table[n] > LEAST_IMPORTANCE]
    if not names:
        raise RankOneError(
            f"no subcomponent is specific to '{forget}': the best is important on only {score.max():.3f} more of its "
            "positions than on another domain's. Choose another target, or give components by name."
        )
    candidates = [Candidate(name, table[name], respond(name)) for name in names]
    safe = [c for c in candidates if c.worst(forget)[0] < tolerance]
    if safe:
        return max(safe, key=lambda c: c.rises[forget]), candidates
    return max(candidates, key=lambda c: c.rises[forget] - 10 * max(0.0, c.worst(forget)[0])), candidates
