"""Predicting how much each domain loses when a subcomponent is turned, without running an edited model.

With β = α − 1 the rise of the cross-entropy is β g + ½ β² H + …, g its slope in α at α = 1 and H its curvature:

    first order     β g
    curvature       ½ β² F, F the Fisher information of α per token: what of H does not cancel where the model is calibrated
    second order    both together

With labels drawn from the model the scores of a row's tokens are uncorrelated, so F = E[(Σ_p ∂L_row/∂α_p)²] per token, p
the positions of the row. `by position` squares each position apart, Σ_p E[(∂L_row/∂α_p)²]: it leaves out how positions add
up and is less noisy. `empirical` does that with the text's own labels, so it needs no draws.

Far from α = 1 these fail: a quadratic knows no bound, a slope does not hold, and a token that the model does not foresee has
little left to lose. `damped slope shared curvature` therefore takes from F (by position) only its mean over the domains and
shares that out by the push at each prediction times its room, P = E[a_p² max(0, ln V − CE_p+1)] with a = ‖u‖ v·x:

    β g / (1 + |β| / 8) + ½ β² mean F · P / mean P
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.experiments.investigation.traces import Traces

# How far from 1 a scale must be for its first order to count half; chosen among 1, 2, 4, 8, 16 and ∞ on validation text.
DAMPING = 8.0


@dataclass(frozen=True)
class Statistics:
    """Of chosen subcomponents on every domain, all per text token.

    energy: E[a²]; push: E[a_p² max(0, ln V − CE_p+1)]; slope, fisher, empirical: nats.
    """

    importance: Float[Tensor, "domains k"]
    energy: Float[Tensor, "domains k"]
    push: Float[Tensor, "domains k"]
    slope: Float[Tensor, "domains k"]
    fisher: Float[Tensor, "domains k"]
    fisher_by_position: Float[Tensor, "domains k"]
    empirical: Float[Tensor, "domains k"]


def statistics(
    traced: Sequence[Traces],
    importance: Float[Tensor, "domains k"],
    losses: Sequence[Float[Tensor, "rows length"]],
    vocabulary: int,
) -> Statistics:
    """Reduce the traces of every domain.

    importance: mean causal importance, from the harvest. losses: of the unedited model, as `token_losses` gives them.
    """

    def by_domain(value: Callable[[Traces], Tensor]) -> Tensor:
        return torch.stack([value(t) for t in traced])

    return Statistics(
        importance=importance,
        energy=by_domain(lambda t: t.activation[t.valid].square().mean(0)),
        push=torch.stack(
            [_push(t, base, math.log(vocabulary)) for t, base in zip(traced, losses, strict=True)]
        ),
        slope=by_domain(lambda t: t.gradient.sum((0, 1)) / t.tokens),
        fisher=by_domain(lambda t: t.drawn.sum(2).square().sum(1).mean(0) / t.tokens),
        fisher_by_position=by_domain(lambda t: t.drawn.square().sum((1, 2)).mean(0) / t.tokens),
        empirical=by_domain(lambda t: t.gradient.square().sum((0, 1)) / t.tokens),
    )


def _push(traced: Traces, losses: Float[Tensor, "rows length"], chance: float) -> Float[Tensor, " k"]:
    """Token t is predicted where the activation is that of t − 1."""
    room = (chance - losses[:, 1:]).clamp_min(0) * traced.valid[:, 1:]
    return (traced.activation[:, :-1].square() * room.unsqueeze(-1)).sum((0, 1)) / traced.tokens


def _first(s: Statistics, alpha: float) -> Float[Tensor, "domains k"]:
    return s.slope * (alpha - 1)


def _second(curvature: Float[Tensor, "domains k"], alpha: float) -> Float[Tensor, "domains k"]:
    return curvature * (alpha - 1) ** 2 / 2


def _shared_curvature(s: Statistics) -> Float[Tensor, "domains k"]:
    return s.fisher_by_position.mean(0) * s.push / s.push.mean(0).clamp_min(1e-30)


class Predictor(StrEnum):
    """What predicts the rise of cross-entropy at α; the first three are not in nats, so only their order counts."""

    IMPORTANCE = "importance"
    ENERGY = "energy"
    PUSH = "push"
    FIRST_ORDER = "first_order"
    CURVATURE = "curvature"
    CURVATURE_BY_POSITION = "curvature_by_position"
    CURVATURE_EMPIRICAL = "curvature_empirical"
    SECOND_ORDER = "second_order"
    SECOND_ORDER_BY_POSITION = "second_order_by_position"
    SECOND_ORDER_EMPIRICAL = "second_order_empirical"
    DAMPED = "damped_slope_shared_curvature"

    @property
    def words(self) -> str:
        """Its name in a sentence."""
        return self.replace("_", " ")


PREDICTORS: dict[Predictor, Callable[[Statistics, float], Float[Tensor, "domains k"]]] = {
    Predictor.IMPORTANCE: lambda s, alpha: s.importance * abs(alpha - 1),
    Predictor.ENERGY: lambda s, alpha: s.energy * (alpha - 1) ** 2,
    Predictor.PUSH: lambda s, alpha: s.push * (alpha - 1) ** 2,
    Predictor.FIRST_ORDER: lambda s, alpha: _first(s, alpha),
    Predictor.CURVATURE: lambda s, alpha: _second(s.fisher, alpha),
    Predictor.CURVATURE_BY_POSITION: lambda s, alpha: _second(s.fisher_by_position, alpha),
    Predictor.CURVATURE_EMPIRICAL: lambda s, alpha: _second(s.empirical, alpha),
    Predictor.SECOND_ORDER: lambda s, alpha: _first(s, alpha) + _second(s.fisher, alpha),
    Predictor.SECOND_ORDER_BY_POSITION: lambda s, alpha: (
        _first(s, alpha) + _second(s.fisher_by_position, alpha)
    ),
    Predictor.SECOND_ORDER_EMPIRICAL: lambda s, alpha: _first(s, alpha) + _second(s.empirical, alpha),
    Predictor.DAMPED: lambda s, alpha: (
        _first(s, alpha) / (1 + abs(alpha - 1) / DAMPING) + _second(_shared_curvature(s), alpha)
    ),
}
