"""How stochastic sources are drawn: uniform in [0, 1], or 0 and 1 with a probability (the level) per row.

uniform     r ~ U[0, 1]
binary      r is 0 or 1 with probability ½
corners     r is 1 with a probability drawn per row: uniform, with a sixth of the rows at 0 and at 1 each
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.decomposition.masking.numbers import Numbers


def _binary(numbers: Numbers) -> Tensor:
    return torch.full((numbers.rows, 1, 1), 0.5, device=numbers.device)


def _corners(numbers: Numbers) -> Tensor:
    return (numbers.uniform(1, 1) * 1.5 - 0.25).clamp(0, 1)


# By name: what draws the level of every row; None where sources are uniform.
LEVELS: dict[str, Callable[[Numbers], Float[Tensor, "b 1 1"]] | None] = {
    "uniform": None,
    "binary": _binary,
    "corners": _corners,
}
