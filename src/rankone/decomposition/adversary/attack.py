"""The sources of some rows in one masked pass, site by site, and where their gradient is added up."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from rankone.decomposition.adversary.sources import Adversary


class Attack:
    """What the slots of `rows` take from an adversary's sources, split by site; `counts` are the sites' subcomponents.

    `sources` and `sums` are lists of [B, T or 1, C] over sites: r, and what its gradient is to be added to (None where
    it is not `wanted`). `delta` [B, T or 1, sites] is a leaf of autograd. After the backward `finish` takes its gradient.

    Where every slot has a source of its own, or all have the same, `sources` and `sums` are views of the adversary's own
    memory: nothing of the size of the sources is copied.
    """

    def __init__(self, adversary: Adversary, rows: slice, counts: Sequence[int], wanted: bool) -> None:
        self._adversary, self._place = adversary, adversary.place(rows)
        value = adversary.source[self._place]
        sites = [*counts, value.shape[-1] - sum(counts)]
        *self.sources, delta_sources = value.split(sites, -1)
        self.delta: Float[Tensor, "b st sites"] = delta_sources.detach().requires_grad_(wanted)
        self.wanted = wanted
        self.sums: list[Tensor | None] = [None] * len(counts)
        if wanted:
            apart = isinstance(self._place, Tensor)
            self._sum = value.new_zeros(value.shape) if apart else adversary.gradient[self._place]
            *self.sums, self._delta_sum = self._sum.split(sites, -1)

    def finish(self, to_delta: Float[Tensor, "b st sites"]) -> None:
        """Add the gradient of `delta`, and what slots that share sources found, to the adversary's gradient."""
        self._delta_sum += to_delta
        if isinstance(self._place, Tensor):
            self._adversary.gradient.index_add_(0, self._place, self._sum)
