"""Importance and activation of a component in a window around a firing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.decomposition.model import Decomposition
from rankone.harvest.counting.firings import Firings
from rankone.harvest.counting.grouping import Grouping
from rankone.harvest.counting.windows import LEVELS, Cut, cut_out


class ComponentWindows:
    """Cuts windows as `Windows` does, of components: activations are as in grouping.py.

    A component may have members at every site, so all activations of a row of text are computed, a row at a time.
    """

    def __init__(self, decomposition: Decomposition, grouping: Grouping, window: int) -> None:
        self.decomposition, self.grouping, self.window = decomposition, grouping, window
        self._sizes = [decomposition.factors(s)[1].norm(dim=1) for s in decomposition.sites]

    def activations(self, inputs: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, "n components"]:
        """Activations of all components from the inputs of every site."""
        sites = zip(self.decomposition.sites, inputs, self._sizes, strict=True)
        return self.grouping.sizes(
            [(x.float() @ self.decomposition.factors(site)[0]) * size for site, x, size in sites]
        )

    def around(
        self,
        inputs: list[Float[Tensor, "b t d"]],
        valid: Bool[Tensor, "b t"],
        fired: Firings,
        wanted: Int[Tensor, " n"],
    ) -> Iterator[Cut]:
        """Windows around the firings of `fired`, of components, with the numbers `wanted`, row by row of text."""
        length = valid.shape[1]
        row = fired.cell.div(length, rounding_mode="floor")
        wished = row.index_select(0, wanted)
        for number in wished.unique().tolist():
            # A product of always the same shape gives the same bits whichever windows are wanted.
            tracks = self.activations([x[number] * valid[number].unsqueeze(1) for x in inputs])
            index = (wished == number).nonzero().squeeze(1)
            yield self._cut(index, fired.take(wanted.index_select(0, index)), fired[row == number], tracks)

    def _cut(
        self,
        index: Int[Tensor, " n"],
        centres: Firings,
        fired: Firings,
        tracks: Float[Tensor, "t components"],
    ) -> Cut:
        window, (length, components) = self.window, tracks.shape
        activations = tracks.new_zeros(components, length + 2 * window)
        activations[:, window : window + length] = tracks.T
        importances = torch.zeros_like(activations, dtype=torch.uint8)
        values = (fired.importance * LEVELS).round().to(torch.uint8)
        importances[fired.part, fired.cell % length + window] = values
        begin = centres.part * activations.shape[1] + centres.cell % length
        return cut_out(index, importances, activations, begin, 2 * window + 1)
