"""How far apart two partitions are, and which clusters of one are found again in the other.

With n subcomponents, n_a and n_b of them in clusters a and b of the two, n_ab in both:

- *Variation of information* (Meilă 2007), in bits: VI = H(A | B) + H(B | A) = −Σ_ab (n_ab / n) [log2(n_ab / n_a) +
  log2(n_ab / n_b)]. A metric; 0 exactly when the partitions are equal, at most log2 n.
- *Adjusted Rand index* (Hubert & Arabie 1985): (P_ab − E) / ((P_a + P_b) / 2 − E) with P_x the number of pairs that lie
  together, E = P_a P_b / (n (n − 1) / 2). 1 for equal partitions, about 0 for unrelated ones.
- *Match* of a cluster: the cluster of the other with the largest Jaccard index n_ab / (n_a + n_b − n_ab).

All are taken over the subcomponents that both partitions hold. Single subcomponents make partitions alike whatever the
clusters are; the matches are of clusters of two at least.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, log2
from statistics import fmean

from rankone.core.errors import RankOneError

# A cluster counts as found again above this Jaccard index: only one can match it so well.
RECOVERED = 0.5


@dataclass(frozen=True)
class Match:
    """A cluster of the first partition and the best of the second, as positions in their lists."""

    first: int
    second: int
    members: int
    jaccard: float


@dataclass(frozen=True)
class Distance:
    """Two partitions compared. common: subcomponents in both; only: those in one alone."""

    common: int
    only: tuple[int, int]
    variation: float
    rand: float
    matches: list[Match]

    @property
    def normalised(self) -> float:
        """Variation of information over its largest value, log2 n."""
        return self.variation / log2(self.common) if self.common > 1 else 0.0

    @property
    def mean_jaccard(self) -> float | None:
        """Mean Jaccard index of the matches, None where no cluster of the first has two members."""
        return fmean(m.jaccard for m in self.matches) if self.matches else None

    @property
    def recovered(self) -> float | None:
        """Share of the first partition's clusters of two at least that are found again."""
        return fmean(m.jaccard > RECOVERED for m in self.matches) if self.matches else None


def distance(first: Sequence[Sequence[str]], second: Sequence[Sequence[str]]) -> Distance:
    """Compare two partitions given as lists of members. Raises RankOneError where they have nothing in common."""
    a, b = ({name: i for i, names in enumerate(side) for name in names} for side in (first, second))
    common = a.keys() & b.keys()
    if not common:
        raise RankOneError("the two clusterings have no subcomponent in common: there is nothing to compare.")
    both = Counter((a[name], b[name]) for name in common)
    sizes_a, sizes_b = Counter(a[name] for name in common), Counter(b[name] for name in common)
    return Distance(
        common=len(common),
        only=(len(a) - len(common), len(b) - len(common)),
        variation=_variation(both, sizes_a, sizes_b),
        rand=_adjusted_rand(both, sizes_a, sizes_b),
        matches=_matches(both, sizes_a, sizes_b),
    )


def _variation(both: Counter[tuple[int, int]], a: Counter[int], b: Counter[int]) -> float:
    terms = (n * (log2(n / a[i]) + log2(n / b[j])) for (i, j), n in sorted(both.items()))
    return max(0.0, -sum(terms) / both.total())


def _adjusted_rand(both: Counter[tuple[int, int]], a: Counter[int], b: Counter[int]) -> float:
    joint, one, other = (sum(comb(n, 2) for n in counts.values()) for counts in (both, a, b))
    pairs = comb(both.total(), 2)
    expected = one * other / pairs if pairs else 0.0
    largest = (one + other) / 2
    return (joint - expected) / (largest - expected) if largest != expected else 1.0


def _matches(both: Counter[tuple[int, int]], a: Counter[int], b: Counter[int]) -> list[Match]:
    best: dict[int, Match] = {}
    for (i, j), n in sorted(both.items()):
        jaccard = n / (a[i] + b[j] - n)
        if a[i] > 1 and (i not in best or jaccard > best[i].jaccard):
            best[i] = Match(i, j, a[i], jaccard)
    return sorted(best.values(), key=lambda m: m.first)
