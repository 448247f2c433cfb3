"""L0: how many subcomponents are important at a position."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def firing_shares(importance: Float[Tensor, "*positions c"], above: float = 0.0) -> Float[Tensor, " c"]:
    """Share of positions at which each causal importance is above a threshold; their sum over some subcomponents is the L0
    of those: the mean number of them with g > `above` at a position."""
    return (importance.flatten(0, -2) > above).float().mean(0)


def l0(importance: Float[Tensor, "*positions c"], above: float = 0.0) -> float:
    """Mean number of subcomponents with g > `above` at a position."""
    return float(firing_shares(importance, above).sum())
