"""Importance and activation of a subcomponent in a window around a firing."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.decomposition.model import Decomposition

# Windows cut out at once.
WINDOWS = 1 << 16
LARGEST_HALF = 65504.0
LEVELS = 255


class Windows:
    """Importances and signed activations ‖u‖ v·x of some subcomponents on one batch, to cut windows from.

    Rows stand side by side with `window` zeros before, between and after them, so that a window never shows another
    row; BOS and padding are zeros too. Importances are kept in steps of 1/255, activations in fp16.
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
        self.slot = torch.full((decomposition.total,), -1, device=valid.device)
        self.slot[components] = torch.arange(len(components), device=valid.device)
        batch, length = valid.shape
        shape = (len(components), batch * (length + window) + window)
        self._importances = torch.zeros(shape, dtype=torch.uint8, device=valid.device)
        self._activations = torch.zeros(shape, dtype=torch.float16, device=valid.device)
        padded = self._activations[:, window:].view(len(components), batch, length + window)[:, :, :length]
        low, slot = 0, 0
        for site, count, x in zip(decomposition.sites, decomposition.counts, inputs, strict=True):
            chosen = components[(components >= low) & (components < low + count)] - low
            read, write = decomposition.factors(site)
            real = (x * valid.unsqueeze(-1)).flatten(0, 1).float()
            size = write[chosen].norm(dim=1, keepdim=True)
            activations = size * (read[:, chosen].T @ real.T)
            padded[slot : slot + len(chosen)] = activations.clamp(-LARGEST_HALF, LARGEST_HALF).view(
                -1, batch, length
            )
            low, slot = low + count, slot + len(chosen)

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
    ) -> tuple[Int[Tensor, "n width"], Float[Tensor, "n width"]]:
        """(importances in steps of 1/255, activations in fp16) around each cell, on the CPU."""
        width = 2 * self.window + 1
        slot, place = self.slot[component], self._place(cell)
        found = [
            [
                source.unfold(1, width, 1)[s, p].cpu()
                for s, p in zip(slot.split(WINDOWS), place.split(WINDOWS), strict=True)
            ]
            for source in (self._importances, self._activations)
        ]
        return torch.cat(found[0]), torch.cat(found[1])
