"""Which rows of the global batch a process takes, and in which parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.decomposition.parallel.machine import Machine
from rankone.runtime.distributed import Ranks


class Part(NamedTuple):
    """Rows that go through the model together.

    `rows` are their numbers in the global batch, `local` their place among this process's rows; the adversarial ones
    among them are True in `adversarial`.
    """

    rows: range
    local: slice
    batch: Tensor
    adversarial: Bool[Tensor, "b 1 1"]

    def pieces(self, size: int) -> Iterator[tuple[slice, Part]]:
        """Pieces of `size` rows (which divides theirs), with their place in the part."""
        for start in range(0, len(self.batch), size):
            place = slice(start, start + size)
            local = slice(self.local.start + start, self.local.start + start + size)
            yield place, Part(self.rows[place], local, self.batch[place], self.adversarial[place])


def check_layout(rows: int, machine: Machine, ranks: Ranks) -> None:
    """RankOneError where the rows of a step do not split evenly, or there is nobody to share memory with."""
    parts = machine.accumulation
    if rows % (ranks.size * parts):
        raise RankOneError(
            f"{rows} rows do not split into {ranks.size} processes × {parts} parts (rows, machine.accumulation). "
            f"Set rows to a multiple of {ranks.size * parts}: it is the batch of all processes together."
        )
    if machine.sharding == "fsdp" and ranks.size == 1:
        raise RankOneError(
            "machine.sharding is fsdp, which shares memory among processes, but there is one. Start with "
            "torchrun --nproc-per-node N -m rankone …, or leave it out."
        )


class Share:
    """The rows of this process: a contiguous range of the global batch, in `accumulation` equal parts."""

    def __init__(self, rows: int, machine: Machine, ranks: Ranks) -> None:
        check_layout(rows, machine, ranks)
        count = rows // ranks.size
        self.total, self.parts = rows, machine.accumulation
        self.rows = range(ranks.rank * count, (ranks.rank + 1) * count)

    @property
    def taken(self) -> slice:
        """This process's rows of the global batch."""
        return slice(self.rows.start, self.rows.stop)

    def split(self, batch: Tensor, adversarial: Bool[Tensor, "b 1 1"]) -> list[Part]:
        """The parts of this process's rows."""
        size = len(self.rows) // self.parts
        places = [slice(i * size, (i + 1) * size) for i in range(self.parts)]
        return [Part(self.rows[place], place, batch[place], adversarial[place]) for place in places]


def in_order(rows: np.ndarray, count: int) -> Callable[[int], Tensor]:
    """Batches of `count` rows, read in order and from the start again at the end."""

    def batch(step: int) -> Tensor:
        index = np.arange(step * count, (step + 1) * count) % len(rows)
        return torch.from_numpy(rows[index].astype(np.int64))

    return batch
