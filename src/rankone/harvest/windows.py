"""Importance and activation of a subcomponent in a window around a firing."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.decomposition.model import Decomposition

# Windows cut out at once.
WINDOWS = 1 << 16
# Subcomponents whose activations are computed together.
BLOCK = 64
LEVELS = 255
STEPS = 127


class Windows:
    """Importances and signed activations ‖u‖ v·x of some subcomponents on one batch, to cut windows from.

    Rows stand side by side with `window` zeros before, between and after them, so that a window never shows another
    row; BOS and padding are zeros too.
    """

    def __init__(
        self,
        decomposition: Decomposition,
        inputs: list[Float[Tensor, "b t d"]],
        valid: Bool[Tensor, "b t"],
        components: Int[Tensor, " some"],
        window: int,
    ) -> None:
        self.window = window
        self.valid = valid
        blocks = _blocks(decomposition.counts, components)
        chosen = torch.cat([torch.arange(low, high, device=valid.device) for _, low, high in blocks])
        self.slot = torch.full((decomposition.total,), -1, device=valid.device)
        self.slot[chosen] = torch.arange(len(chosen), device=valid.device)
        batch, length = valid.shape
        shape = (len(chosen), batch * (length + window) + window)
        self._importances = torch.zeros(shape, dtype=torch.uint8, device=valid.device)
        self._activations = torch.empty(shape, device=valid.device)
        offsets = [sum(decomposition.counts[:i]) for i in range(len(decomposition.counts))]
        laid_out: dict[int, Tensor] = {}
        for site, low, high in blocks:
            if site not in laid_out:
                laid_out = {site: _laid_out(inputs[site], valid, window)}
            read, write = decomposition.factors(decomposition.sites[site])
            own = slice(low - offsets[site], high - offsets[site])
            slot = int(self.slot[low])
            torch.mm(
                (read[:, own] * write[own].norm(dim=1)).T,
                laid_out[site].T,
                out=self._activations[slot : slot + high - low],
            )

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
