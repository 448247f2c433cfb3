"""Which subcomponents to turn: rankings by importance, and the choice of a single one by its evidence on all domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.harvest.reading.summary import Importances
from rankone.labels.domains import names_only
from rankone.labels.label import Labelled
from rankone.text.domains import domain_name

# A subcomponent must matter at a tenth of the forget positions at least to be worth turning alone.
LEAST_IMPORTANCE = 0.1


def contrast(
    importances: Importances, forget: Sequence[str], retain: Sequence[str]
) -> Float[Tensor, " subcomponents"]:
    """Mean importance over one group of domains minus that over another (the published ranking, there one domain each)."""
    shared = [domain for domain in forget if domain in retain]
    if shared:
        raise RankOneError(
            f"'{shared[0]}' is on both sides: the target and what it is held against must be apart."
        )
    return _mean(importances, forget) - _mean(importances, retain)


def _mean(importances: Importances, domains: Sequence[str]) -> Float[Tensor, " subcomponents"]:
    if not domains:
        raise RankOneError("a group of domains is empty: name at least one.")
    return torch.stack([importances.of(domain) for domain in domains]).mean(0)


def specificity(importances: Importances, *forget: str) -> Float[Tensor, " subcomponents"]:
    """Mean importance on the forget domain (of several, where it is least) minus the largest on any other domain."""
    least = torch.stack([importances.of(domain) for domain in forget]).min(0).values
    return least - importances.others(*forget)


def top_names(importances: Importances, score: Float[Tensor, " subcomponents"], count: int) -> list[str]:
    """Names of the `count` highest-scoring subcomponents."""
    return [importances.names[int(i)] for i in score.topk(min(count, len(score))).indices]


def specific_names(importances: Importances, forget: str, ratio: float) -> list[str]:
    """All subcomponents whose importance on the forget domain is over `ratio` times that on every other domain."""
    wanted, others = importances.of(forget), importances.others(forget)
    chosen = (wanted > ratio * others) & (wanted > 1e-3)
    return [name for name, keep in zip(importances.names, chosen.tolist(), strict=True) if keep]


@dataclass(frozen=True)
class Candidate:
    """A shortlisted subcomponent."""

    name: str
    specificity: float


def specific_candidates(importances: Importances, forget: str, shortlist: int) -> list[Candidate]:
    """The most specific subcomponents, best first, as far as they matter at LEAST_IMPORTANCE of the positions."""
    score = specificity(importances, forget)
    table = dict(zip(importances.names, score.tolist(), strict=True))
    names = [n for n in top_names(importances, score, shortlist) if table[n] > LEAST_IMPORTANCE]
    if not names:
        raise RankOneError(
            f"no subcomponent is specific to '{forget}': the best is important on only {score.max():.3f} more of its "
            "positions than on another domain's. Choose another target, or give components by name."
        )
    return [Candidate(name, table[name]) for name in names]


def separation(
    activations: Mapping[str, Float[Tensor, " subcomponents"]], domains: Sequence[str], forget: str
) -> Float[Tensor, " subcomponents"]:
    """|Mean signed activation| on the forget domain over the largest on any other of `domains`; at most 100.

    An edit adds (α − 1) (v·x) u at every position, important or not: what keeps it off other domains is that v·x is
    small there, which importance alone does not say.
    """
    wanted = activations[forget].abs()
    others = torch.stack([activations[d].abs() for d in domains if d != forget]).max(0).values
    return wanted / others.clamp_min(1e-12).maximum(wanted / 100)


def labelled_candidates(
    importances: Importances,
    activations: Mapping[str, Float[Tensor, " subcomponents"]],
    labels: Labelled,
    forget: str,
    shortlist: int = 20,
) -> tuple[list[Candidate], list[Candidate]]:
    """Those of the shortlist whose label names the forget domain and no other, best first; and the shortlist.

    The shortlist are the most specific subcomponents by importance, most specific first; of the labelled ones the largest
    specificity times `separation` is best. Raises RankOneError where there are none.
    """
    candidates = specific_candidates(importances, forget, shortlist)
    named = [c for c in candidates if names_only(labels.best(c.name).label, forget, importances.domains)]
    if not named:
        said = "; ".join(f"{c.name} “{labels.best(c.name).label}”" for c in candidates[:3])
        raise RankOneError(
            f"none of the {len(candidates)} subcomponents most specific to '{forget}' is labelled as "
            f"{domain_name(forget)} alone: {said}. Choose another target, or give parts by name."
        )
    apart = dict(
        zip(importances.names, separation(activations, importances.domains, forget).tolist(), strict=True)
    )
    return sorted(named, key=lambda c: -c.specificity * apart[c.name]), candidates
