"""The prices on what parts read: the read leak and stray reading of a run, those that its recipe asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from rankone.decomposition.config import TrainingConfig
from rankone.decomposition.model import Decomposition
from rankone.decomposition.objective.read_leak import ReadLeak
from rankone.decomposition.objective.stray_reading import StrayReading
from rankone.decomposition.training.sums import Sums
from rankone.runtime.distributed import Ranks


class ReadPrices:
    """Both losses over the clean site inputs of a step, with gradients of V and U alone."""

    def __init__(self, config: TrainingConfig, decomposition: Decomposition, ranks: Ranks) -> None:
        self.ranks = ranks
        self._dtype = torch.bfloat16 if config.autocast else torch.float32
        self.leak = ReadLeak(decomposition, config.read_leak, config.compile) if config.read_leak else None
        self.stray = (
            StrayReading(decomposition, config.stray_reading, config.compile)
            if config.stray_reading
            else None
        )

    @property
    def names(self) -> list[str]:
        """Of the losses there are."""
        return [name for name, loss in (("read_leak", self.leak), ("stray_reading", self.stray)) if loss]

    @property
    def unmeasured(self) -> bool:
        """Whether the read leak still lacks what it is measured in."""
        return self.leak is not None and not self.leak.measured

    def measure(self, inputs: Iterable[Sequence[Tensor]], weights: Sequence[Tensor], positions: int) -> None:
        """What the sites put out on a batch of `positions`, their inputs [B, T, d_in] given a part at a time."""
        assert self.leak is not None
        self.leak.measure(inputs, weights, positions, self.ranks)

    def add(self, inputs: Sequence[Tensor] | None, logits: Tensor, positions: int, sums: Sums) -> None:
        """The losses of some rows of a batch of `positions` (on all processes), their gradients, and figures to report."""
        if not self.names:
            return
        assert inputs is not None
        if self.leak is not None:
            sums.add("read_leak", self.leak.backward(inputs, logits, positions, self._dtype))
        if self.stray is not None:
            energy = self.stray.backward(inputs, logits, self.ranks, self._dtype)
            sums.add("stray_reading", energy / self.ranks.size)

    def tensors(self) -> dict[str, Tensor]:
        """State that outlives a step."""
        return {} if self.stray is None else self.stray.tensors()
