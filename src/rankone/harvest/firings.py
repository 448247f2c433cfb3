"""What fires in a batch: the importances above zero, as a list."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Firings:
    """Where importances are not zero, sorted by position, then subcomponent.

    cell: index into the flattened batch. position: number among the batch's text tokens.
    """

    cell: Int[Tensor, " n"]
    position: Int[Tensor, " n"]
    component: Int[Tensor, " n"]
    importance: Float[Tensor, " n"]

    def __getitem__(self, chosen: Bool[Tensor, " n"]) -> Firings:
        return Firings(
            self.cell[chosen], self.position[chosen], self.component[chosen], self.importance[chosen]
        )

    def __len__(self) -> int:
        return len(self.cell)


def firings(importance: Float[Tensor, "b t c"], valid: Bool[Tensor, "b t"]) -> Firings:
    """The importances above zero at text tokens; those over one count as one. Changes `importance`."""
    importance[~valid] = 0
    flat = importance.flatten(0, 1)
    cell, component = (flat > 0).nonzero().T.contiguous()
    position = valid.flatten().cumsum(0)[cell] - 1
    return Firings(cell, position, component, flat[cell, component].clamp(max=1))
