"""The figures of a step, added up over the parts of a batch and over all processes."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rankone.runtime.distributed import Ranks


class Sums:
    """Sums with their counts by name, on the device; a figure is their quotient, and absent where nothing was counted."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._values: dict[str, Tensor] = {}

    def add(self, name: str, total: Tensor, count: Tensor | float | None = None) -> None:
        """Count `total` in: a sum over `count` things, or a share of a figure that is the sum of all shares."""
        size = torch.as_tensor(math.nan if count is None else count, dtype=torch.float32, device=self._device)
        entry = torch.stack([total.detach().float(), size])
        self._values[name] = self._values.get(name, 0) + entry

    def add_rows(self, name: str, values: Float[Tensor, " b"], chosen: Bool[Tensor, " b"]) -> None:
        """Count in the values of the chosen rows."""
        self.add(name, torch.where(chosen, values, 0.0).sum(), chosen.float().sum())

    def all(self, ranks: Ranks) -> dict[str, float]:
        """The figures over all processes, which have to have added the same names."""
        if not self._values:
            return {}
        summed = ranks.sum_(torch.stack(list(self._values.values()))).tolist()
        return {
            name: total if math.isnan(count) else total / count
            for name, (total, count) in zip(self._values, summed, strict=True)
            if count
        }
