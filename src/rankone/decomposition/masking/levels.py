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


def _uniform(batch: int, generator: torch.Generator) -> None:
    del batch, generator


def _binary(batch: int, generator: torch.Generator) -> Tensor:
    return torch.full((batch, 1, 1), 0.5, device=generator.device)


def _corners(batch: int, generator: torch.Generator) -> Tensor:
    return (torch.rand(batch, 1, 1, generator=generator, device=generator.device) * 1.5 - 0.25).clamp(0, 1)


# By name: the level [B, 1, 1] of every row, or None where sources are uniform.
LEVELS: dict[str, Callable[[int, torch.Generator], Float[Tensor, "b 1 1"] | None]] = {
    "uniform": _uniform,
    "binary": _binary,
    "corners": _corners,
}
