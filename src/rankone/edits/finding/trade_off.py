"""The trade-off of one part: how far its scale can go before other text suffers, and what that does to the target.

Both signs are tried. Away from α = 1 the distance x = |α − 1| is doubled until another domain's cross-entropy has risen by
more than a tolerance, or the target's is where it is wanted; the step over that edge is then halved (in ratio) a few times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rankone.edits.finding.tolerances import Tolerances

NEAREST, FARTHEST = 0.25, 512.0


@dataclass(frozen=True)
class Measured:
    """What one α does: rise of cross-entropy of the target and of each other domain, nats per token.

    Once another text is over its tolerance the rest may be left out, and `rise` be NaN. about: the rise on English about the
    target's country, None where it is not measured. error: standard error of `rise`.
    """

    alpha: float
    rise: float
    others: Mapping[str, float]
    about: float | None = None
    error: float | None = None

    @property
    def worst(self) -> float:
        """The largest rise of another domain; NaN where one is NaN."""
        return self.others[self.worst_domain] if self.others else 0.0

    @property
    def worst_domain(self) -> str:
        """The domain that suffers most."""
        return max(self.others, key=lambda d: (math.isnan(self.others[d]), self.others[d]), default="")


Measure = Callable[[float], Measured]


@dataclass(frozen=True)
class Rule:
    """tolerances: the most that each other domain may rise. enough: rise of the target beyond which more is not wanted.

    start: the first |α − 1| of each sign. refine: halvings of the last step.
    """

    tolerances: Tolerances
    enough: float = math.inf
    start: float = 4.0
    refine: int = 2

    def strain(self, measured: Measured) -> float:
        """The largest rise of another text in units of its tolerance."""
        return self.tolerances.strain(measured.others, measured.about)

    def allowed(self, measured: Measured) -> bool:
        """Whether every other domain is left alone (NaN is not)."""
        return self.strain(measured) <= 1 and math.isfinite(measured.rise)

    def ends(self, measured: Measured) -> bool:
        """Whether there is no reason to go farther."""
        return not self.allowed(measured) or measured.rise >= self.enough

    def score(self, measured: Measured) -> tuple[float, float]:
        """Larger is better: the rise as far as it is wanted, then little damage; damage over the tolerance never."""
        if not self.allowed(measured):
            return (-math.inf, -self.strain(measured))
        return (min(measured.rise, self.enough), -self.strain(measured))


def best_scale(
    measure: Measure, rule: Rule, signs: Sequence[float] = (-1.0, 1.0)
) -> tuple[Measured, list[Measured]]:
    """The best α of all that were measured, and these; α = 1, which does nothing, where every other breaks the rule.

    signs: the sides of α = 1 that are looked at.
    """
    seen = [m for sign in signs for m in _one_way(measure, rule, sign)]
    nothing = Measured(1.0, 0.0, dict.fromkeys(seen[0].others, 0.0))
    return max([nothing, *seen], key=rule.score), seen


def _one_way(measure: Measure, rule: Rule, sign: float) -> list[Measured]:
    """What was measured on one side of α = 1."""
    seen: list[Measured] = []

    def ends(x: float) -> bool:
        seen.append(measure(1.0 + sign * x))
        return rule.ends(seen[-1])

    near = far = rule.start
    if ends(rule.start):
        while near > NEAREST:
            near /= 2
            if not ends(near):
                break
            far = near
        else:
            return seen
    else:
        while far < FARTHEST:
            far *= 2
            if ends(far):
                break
            near = far
        else:
            return seen
    for _ in range(rule.refine):
        middle = math.sqrt(near * far)
        near, far = (near, middle) if ends(middle) else (middle, far)
    return seen
