"""Predicting how much each domain loses when a subcomponent is turned, without running an edited model.

With β = α − 1 the rise of the cross-entropy of token t is β J_t + ½ β² H_t + …, J and H its derivatives in α at α = 1:

    first order          β g,   g = mean over tokens of J
    curvature            ½ β² F, F the Fisher information of α per token: the part of H that does not cancel where
                         the model is calibrated
    second order         both together

With labels drawn from the model the scores of a row's tokens are uncorrelated, so F = E[(Σ_p ∂L_row/∂α_p)²] per token, p
the positions of the row. `by position` squares each position apart, Σ_p E[(∂L_row/∂α_p)²]: it leaves out how positions add
up and is less noisy. `empirical` does that with the text's own labels, so it needs no draws.

and, simpler: mean importance, E[a²] with a = ‖u‖ v·x (the size of the change), and the mean |first order| by position.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from rankone.benchmark.investigation.traces import Traces


@dataclass(frozen=True)
class Statistics:
    """Of chosen subcomponents on one domain, all per text token; `energy` is E[a²], the others in nats."""

    importance: Float[Tensor, " k"]
    energy: Float[Tensor, " k"]
    slope: Float[Tensor, " k"]
    steepness: Float[Tensor, " k"]
    fisher: Float[Tensor, " k"]
    fisher_by_position: Float[Tensor, " k"]
    empirical: Float[Tensor, " k"]


def statistics(found: Traces, importance: Float[Tensor, " k"]) -> Statistics:
    """Reduce the traces of one domain; importance: mean causal importance there, from the harvest."""
    tokens = found.tokens
    return Statistics(
        importance=importance,
        energy=found.activation[found.valid].square().mean(0),
        slope=found.gradient.sum((0, 1)) / tokens,
        steepness=found.gradient.abs().sum((0, 1)) / tokens,
        fisher=found.drawn.sum(2).square().sum(1).mean(0) / tokens,
        fisher_by_position=found.drawn.square().sum((1, 2)).mean(0) / tokens,
        empirical=found.gradient.square().sum((0, 1)) / tokens,
    )


Predictor = Callable[[Statistics, float], Float[Tensor, " k"]]

# What each says of the rise of cross-entropy at α; the first two are no nats, so only their order counts.
PREDICTORS: dict[str, Predictor] = {
    "importance": lambda s, alpha: s.importance * abs(alpha - 1),
    "energy": lambda s, alpha: s.energy * (alpha - 1) ** 2,
    "first order": lambda s, alpha: s.slope * (alpha - 1),
    "first order, absolute": lambda s, alpha: s.steepness * abs(alpha - 1),
    "curvature": lambda s, alpha: s.fisher * (alpha - 1) ** 2 / 2,
    "curvature by position": lambda s, alpha: s.fisher_by_position * (alpha - 1) ** 2 / 2,
    "curvature, empirical": lambda s, alpha: s.empirical * (alpha - 1) ** 2 / 2,
    "second order": lambda s, alpha: s.slope * (alpha - 1) + s.fisher * (alpha - 1) ** 2 / 2,
    "second order by position": lambda s, alpha: (
        s.slope * (alpha - 1) + s.fisher_by_position * (alpha - 1) ** 2 / 2
    ),
    "second order, empirical": lambda s, alpha: s.slope * (alpha - 1) + s.empirical * (alpha - 1) ** 2 / 2,
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
