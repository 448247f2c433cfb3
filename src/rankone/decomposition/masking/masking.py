"""What one forward does at the decomposed sites of a model: one immutable value, put in force by one context."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from rankone.decomposition.masking.masks import MaskParts


class SiteMask(NamedTuple):
    """The mask of one site: m broadcastable to [B, T, C]; m_Δ and ρ to [B, T, 1]; delta None is Δ off, route None is all.

    A mask given by its parts needs delta and route of all positions; gradients go to the parts and to V and U.
    """

    mask: Float[Tensor, "b t c"] | MaskParts
    delta: Float[Tensor, "b t 1"] | None = None
    route: Float[Tensor, "b t 1"] | None = None


@dataclass(frozen=True, eq=False)
class Masking:
    """The masks of a forward of [B, T] positions by site; a site without one is the untouched layer.

    grid: (B, T), for models that run a layer on all positions in one row. inputs, outputs: where the forward leaves what
    every site takes and what every masked site gives, by site; None keeps nothing.
    """

    grid: tuple[int, ...]
    masks: Mapping[str, SiteMask] = field(default_factory=dict)
    inputs: dict[str, Tensor] | None = None
    outputs: dict[str, Tensor] | None = None


class MaskingInForce:
    """The masking that the sites of one model look up; None outside `put`, and every site is the untouched layer."""

    def __init__(self) -> None:
        self.now: Masking | None = None

    @contextmanager
    def put(self, masking: Masking | None) -> Iterator[None]:
        """In force while the block runs; what was before comes back whatever happens."""
        before, self.now = self.now, masking
        try:
            yield
        finally:
            self.now = before
