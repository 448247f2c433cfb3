"""Where parts fire in a batch, as a list."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Firings:
    """Where importances are not zero, sorted by position, then part.

    cell: index into the flattened batch. position: number among the batch's text tokens.
    """

    cell: Int[Tensor, " n"]
    position: Int[Tensor, " n"]
    part: Int[Tensor, " n"]
    importance: Float[Tensor, " n"]

    def __getitem__(self, chosen: Bool[Tensor, " n"]) -> Firings:
        return self.take(chosen.nonzero().squeeze(1))

    def take(self, index: Int[Tensor, " m"]) -> Firings:
        """Those with the given numbers, in that order."""
        return Firings(
            self.cell.index_select(0, index),
            self.position.index_select(0, index),
            self.part.index_select(0, index),
            self.importance.index_select(0, index),
        )

    def __len__(self) -> int:
        return len(self.cell)


def firings(importance: Float[Tensor, "b t c"], valid: Bool[Tensor, "b t"]) -> Firings:
    """The importances above zero at text tokens; those over one count as one. Changes `importance`."""
    importance[~valid] = 0
    parts = importance.shape[-1]
    flat = importance.flatten()
    place = (flat > 0).nonzero().squeeze(1)
    cell = place.div(parts, rounding_mode="floor")
    number = valid.flatten().cumsum(0) - 1
    return Firings(
        cell,
        number.index_select(0, cell),
        place - cell * parts,
        flat.index_select(0, place).clamp_(max=1),
    )
