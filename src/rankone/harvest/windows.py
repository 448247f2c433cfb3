"""Importance and activation of a subcomponent in a window around a firing."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.decomposition.model import Decomposition
from rankone.harvest.grouping import Grouping

# Windows cut out at once.
WINDOWS = 1 << 16
# Subcomponents whose activations are computed together.
BLOCK = 64
LEVELS = 255
STEPS = 127


class Windows:
    """Importances and signed activations ‖u‖ v·x of some subcomponents on one batch, to cut windows from.

    With `grouping`, of components (activations as in grouping.py). Rows stand side by side with `window` zeros before,
    between and after them, so that a window never shows another row; BOS and padding are zeros too.
    """

    def __init__(
        self,
        decomposition: Decomposition,
        inputs: list[Float[Tensor, "b t d"]],
        valid: Bool[Tensor, "b t"],
        components: Int[Tensor, " some"],
        window: int,
        grouping: Grouping | None = None,
    ) -> None:
        self.window = window
        self.valid = valid
        wanted = components if grouping is None else grouping.columns_of(components)
        blocks = _blocks(decomposition.counts, wanted)
        chosen = torch.cat([torch.arange(low, high, device=valid.device) for _, low, high in blocks])
        activations = self._products(decomposition, inputs, blocks)
        if grouping is None:
            self.slot = _slots(chosen, decomposition.total)
            self._activations = activations
        else:
            self.slot = _slots(components, len(grouping.names))
            self._activations = grouping.rows(activations, chosen, components)
        self._importances = torch.zeros(self._activations.shape, dtype=torch.uint8, device=valid.device)

    def _products(
        self, decomposition: Decomposition, inputs: list[Tensor], blocks: list[tuple[int, int, int]]
    ) -> Float[Tensor, "some places"]:
        """‖u‖ v·x of the subcomponents of all blocks, one below the other."""
        batch, length = self.valid.shape
        height = sum(high - low for _, low, high in blocks)
        places = batch * (length + self.window) + self.window
        found = torch.empty(height, places, device=self.valid.device)
        offsets = [sum(decomposition.counts[:i]) for i in range(len(decomposition.counts))]
        laid_out: dict[int, Tensor] = {}
        row = 0
        for site, low, high in blocks:
            if site not in laid_out:
                laid_out = {site: _laid_out(inputs[site], self.valid, self.window)}
            read, write = decomposition.factors(decomposition.sites[site])
            own = slice(low - offsets[site], high - offsets[site])
            out = found[row : row + high - low]
            torch.mm((read[:, own] * write[own].norm(dim=1)).T, laid_out[site].T, out=out)
            row += high - low
        return found

    def _place(self, cell: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Where a window around a cell (index into the flattened batch) begins."""
        length = self.valid.shape[1]
        return cell + cell.div(length, rounding_mode="floor") * self.window

    def put(
        self, component: Int[Tensor, " n"], cell: Int[Tensor, " n"], importance: Float[Tensor, " n"]
    ) -> None:
        """Enter importances; those of other subcomponents are passed over."""
        slot = self.slot[component]
        mine = slot >= 0
        place = self._place(cell[mine]) + self.window
        self._importances[slot[mine], place] = (importance[mine] * LEVELS).round().to(torch.uint8)

    def cut(
        self, component: Int[Tensor, " n"], cell: Int[Tensor, " n"]
    ) -> tuple[Int[Tensor, "n width"], Int[Tensor, "n width"], Float[Tensor, " n"]]:
        """(importances, activations, steps) around each cell, on the CPU.

        Importances are uint8 in units of 1/255. Activations are int8; times the window's step, which is its largest
        activation / 127, they are what they were up to half a step.
        """
        width = 2 * self.window + 1
        parts = []
        for slot, place in zip(
            self.slot[component].split(WINDOWS), self._place(cell).split(WINDOWS), strict=True
        ):
            importances = self._importances.unfold(1, width, 1)[slot, place]
            activations = self._activations.unfold(1, width, 1)[slot, place]
            low, high = activations.aminmax(dim=1)
            step = torch.maximum(-low, high).clamp_min(torch.finfo(torch.float32).tiny) / STEPS
            steps = activations.div_(step.unsqueeze(1)).round_().to(torch.int8)
            parts.append((importances.cpu(), steps.cpu(), step.cpu()))
        importances, activations, step = (torch.cat(column) for column in zip(*parts, strict=True))
        return importances, activations, step


def _slots(rows: Int[Tensor, " some"], total: int) -> Int[Tensor, " total"]:
    """The row of each number, −1 for one that has none."""
    slot = torch.full((total,), -1, device=rows.device)
    slot[rows] = torch.arange(len(rows), device=rows.device)
    return slot


def _laid_out(
    inputs: Float[Tensor, "b t d"], valid: Bool[Tensor, "b t"], window: int
) -> Float[Tensor, "places d"]:
    """A site's inputs at text tokens, row after row, with zeros elsewhere."""
    batch, length, width = inputs.shape
    places = inputs.new_zeros(batch * (length + window) + window, width, dtype=torch.float32)
    places[window:].view(batch, length + window, width)[:, :length] = inputs * valid.unsqueeze(-1)
    return places


def _blocks(counts: list[int], components: Int[Tensor, " some"]) -> list[tuple[int, int, int]]:
    """(site, from, to) of the blocks of subcomponents that hold any of the given ones.

    A product of always the same shape gives the same bits whichever other subcomponents are asked for.
    """
    wanted = components.cpu()
    found, low = [], 0
    for site, count in enumerate(counts):
        own = wanted[(wanted >= low) & (wanted < low + count)] - low
        for block in own.div(BLOCK, rounding_mode="floor").unique().tolist():
            found.append((site, low + block * BLOCK, low + min(count, (block + 1) * BLOCK)))
        low += count
    return found
