"""Predicting how much each domain loses when a subcomponent is turned, without running an edited model.

With β = α − 1 the rise of the cross-entropy is β g + ½ β² H + …, g its slope in α at α = 1 and H its curvature:

    first order     β g
    curvature       ½ β² F, F the Fisher information of α per token: what of H does not cancel where the model is calibrated
    second order    both together

With labels drawn from the model the scores of a row's tokens are uncorrelated, so F = E[(Σ_p ∂L_row/∂α_p)²] per token, p
the positions of the row. `by position` squares each position apart, Σ_p E[(∂L_row/∂α_p)²]: it leaves out how positions add
up and is less noisy. `empirical` does that with the text's own labels, so it needs no draws.

Far from α = 1 these fail: a quadratic knows no bound, a slope does not hold, and a token that the model does not foresee has
little left to lose. `damped slope, shared curvature` therefore takes from F (by position) only its mean over the domains and
shares that out by the push at each prediction times its room, P = E[a_p² max(0, ln V − CE_p+1)] with a = ‖u‖ v·x:

    β g / (1 + |β| / 8) + ½ β² mean F · P / mean P
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


Predictor = Callable[[Statistics, float], Float[Tensor, "domains k"]]


def _shared_curvature(s: Statistics, alpha: float) -> Float[Tensor, "domains k"]:
    share = s.push / s.push.mean(0).clamp_min(1e-30)
    return s.fisher_by_position.mean(0) * share * (alpha - 1) ** 2 / 2


def _damped_slope(s: Statistics, alpha: float) -> Float[Tensor, "domains k"]:
    return s.slope * (alpha - 1) / (1 + abs(alpha - 1) / DAMPING)


# What each says of the rise of cross-entropy at α; the first three are no nats, so only their order counts.
PREDICTORS: dict[str, Predictor] = {
    "importance": lambda s, alpha: s.importance * abs(alpha - 1),
    "energy": lambda s, alpha: s.energy * (alpha - 1) ** 2,
    "push": lambda s, alpha: s.push * (alpha - 1) ** 2,
    "first order": lambda s, alpha: s.slope * (alpha - 1),
    "curvature": lambda s, alpha: s.fisher * (alpha - 1) ** 2 / 2,
    "curvature by position": lambda s, alpha: s.fisher_by_position * (alpha - 1) ** 2 / 2,
    "curvature, empirical": lambda s, alpha: s.empirical * (alpha - 1) ** 2 / 2,
    "second order": lambda s, alpha: s.slope * (alpha - 1) + s.fisher * (alpha - 1) ** 2 / 2,
    "second order by position": lambda s, alpha: (
        s.slope * (alpha - 1) + s.fisher_by_position * (alpha - 1) ** 2 / 2
    ),
    "second order, empirical": lambda s, alpha: s.slope * (alpha - 1) + s.empirical * (alpha - 1) ** 2 / 2,
    "damped slope, shared curvature": lambda s, alpha: _damped_slope(s, alpha) + _shared_curvature(s, alpha),
}
