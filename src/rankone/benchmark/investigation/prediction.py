"""Predicting how much each domain loses when a subcomponent is turned, without running an edited model.

With β = α − 1 the rise of the cross-entropy is β g + ½ β² H + …, g its slope in α at α = 1 and H its curvature:

    first order     β g
    curvature       ½ β² F, F the Fisher information of α per token: what of H does not cancel where the model is calibrated
    second order    both together

With labels drawn from the model the scores of a row's tokens are uncorrelated, so F = E[(Σ_p ∂L_row/∂α_p)²] per token, p
the positions of the row. `by position` squares each position apart, Σ_p E[(∂L_row/∂α_p)²]: it leaves out how positions add
up and is less noisy. `empirical` does that with the text's own labels, so it needs no draws.

Far from α = 1 these fail: a quadratic knows no bound, while a domain that the model reads badly has little left to lose.
`first order, energy and room` therefore takes from F (by position) only the harm per unit of push, κ = mean F / mean E[a²]
over the domains, a = ‖u‖ v·x, and shares it out by the push and by the room r = ln V − CE of each domain:

    β g + ½ β² κ E[a²] r / mean r
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.benchmark.investigation.traces import Traces


@dataclass(frozen=True)
class Statistics:
    """Of chosen subcomponents on every domain, all per text token; `energy` is E[a²], the others but importance in nats.

    room: ln V less the cross-entropy of the unedited model, at least 0; one for all subcomponents.
    """

    importance: Float[Tensor, "domains k"]
    energy: Float[Tensor, "domains k"]
    slope: Float[Tensor, "domains k"]
    fisher: Float[Tensor, "domains k"]
    fisher_by_position: Float[Tensor, "domains k"]
    empirical: Float[Tensor, "domains k"]
    room: Float[Tensor, "domains 1"]

    @property
    def harm(self) -> Float[Tensor, " k"]:
        """κ: Fisher information per unit of energy, over all domains; 0 for a subcomponent that is never active."""
        return self.fisher_by_position.mean(0) / self.energy.mean(0).clamp_min(1e-30)


def statistics(
    found: Sequence[Traces],
    importance: Float[Tensor, "domains k"],
    ce: Sequence[float],
    vocabulary: int,
) -> Statistics:
    """Reduce the traces of every domain.

    importance: mean causal importance, from the harvest. ce: cross-entropies of the unedited model, nats per token.
    """

    def by_domain(value: Callable[[Traces], Tensor]) -> Tensor:
        return torch.stack([value(traced) for traced in found])

    return Statistics(
        importance=importance,
        energy=by_domain(lambda t: t.activation[t.valid].square().mean(0)),
        slope=by_domain(lambda t: t.gradient.sum((0, 1)) / t.tokens),
        fisher=by_domain(lambda t: t.drawn.sum(2).square().sum(1).mean(0) / t.tokens),
        fisher_by_position=by_domain(lambda t: t.drawn.square().sum((1, 2)).mean(0) / t.tokens),
        empirical=by_domain(lambda t: t.gradient.square().sum((0, 1)) / t.tokens),
        room=(math.log(vocabulary) - torch.tensor(ce)).clamp_min(0).unsqueeze(1),
    )


Predictor = Callable[[Statistics, float], Float[Tensor, "domains k"]]


def _energy_and_room(s: Statistics, alpha: float) -> Float[Tensor, "domains k"]:
    share = s.room / s.room.mean().clamp_min(1e-30)
    return s.harm * s.energy * share * (alpha - 1) ** 2 / 2


# What each says of the rise of cross-entropy at α; the first two are no nats, so only their order counts.
PREDICTORS: dict[str, Predictor] = {
    "importance": lambda s, alpha: s.importance * abs(alpha - 1),
    "energy": lambda s, alpha: s.energy * (alpha - 1) ** 2,
    "energy and room": _energy_and_room,
    "first order": lambda s, alpha: s.slope * (alpha - 1),
    "curvature": lambda s, alpha: s.fisher * (alpha - 1) ** 2 / 2,
    "curvature by position": lambda s, alpha: s.fisher_by_position * (alpha - 1) ** 2 / 2,
    "curvature, empirical": lambda s, alpha: s.empirical * (alpha - 1) ** 2 / 2,
    "second order": lambda s, alpha: s.slope * (alpha - 1) + s.fisher * (alpha - 1) ** 2 / 2,
    "second order by position": lambda s, alpha: (
        s.slope * (alpha - 1) + s.fisher_by_position * (alpha - 1) ** 2 / 2
    ),
    "second order, empirical": lambda s, alpha: s.slope * (alpha - 1) + s.empirical * (alpha - 1) ** 2 / 2,
    "first order, energy and room": lambda s, alpha: s.slope * (alpha - 1) + _energy_and_room(s, alpha),
}


def spearman(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None where one side has no order (all equal, or n < 2)."""
    x, y = (ranks(side) - (len(side) + 1) / 2 for side in (a, b))
    size = float((x.square().sum() * y.square().sum()).sqrt()) if len(a) > 1 else 0.0
    return float((x * y).sum()) / size if size else None


def ranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Ranks from 1 up in float64; equal values share their mean rank."""
    _, place, count = values.unique(return_inverse=True, return_counts=True)
    last = count.cumsum(0).double()
    return (last - (count.double() - 1) / 2)[place]
