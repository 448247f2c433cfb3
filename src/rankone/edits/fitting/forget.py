"""The forget text of many runs, stacked: each run takes its own rows in order and round again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.edits.fitting.config import Target
from rankone.text.blocks import Blocks, joined


class ForgetText:
    """The forget rows of all runs, padded to the longest, on a device; runs of one text share its rows.

    ids, scored: [rows, T], and the positions whose prediction enters the loss. rows: rows that a run takes at each step.
    """

    def __init__(
        self, device: torch.device, texts: Sequence[Blocks], target: Target = "expected", rows: int = 1
    ) -> None:
        unique = list({id(text): text for text in texts}.values())
        every = joined(unique).to(device)
        self.ids, valid = every.ids, every.valid
        self.scored: Bool[Tensor, "rows t"] = valid if target == "expected" else F.pad(valid[:, 1:], (0, 1))
        starts, start = {}, 0
        for text in unique:
            starts[id(text)] = start
            start += len(text.ids)
        self.lengths = torch.tensor([[len(b.ids)] for b in texts], device=device)
        self.starts = torch.tensor([[starts[id(b)]] for b in texts], device=device)
        self.count, self.turns = rows, torch.arange(rows, device=device)

    def rows(
        self, step: int, runs: Int[Tensor, " some"]
    ) -> tuple[Int[Tensor, "some rows"], Bool[Tensor, "some rows t"]]:
        """Rows and scored positions of some runs at a step; a run with fewer rows than asked has each of them once."""
        lengths = self.lengths[runs]
        index = self.starts[runs] + (step * self.count + self.turns) % lengths
        once = (self.turns < lengths).unsqueeze(2)
        return index, self.scored[index] & once


def refuse_empty(texts: Sequence[tuple[int, Blocks]]) -> None:
    """RankOneError naming the seed of a run without forget text."""
    for seed, blocks in texts:
        if blocks.tokens == 0:
            raise RankOneError(f"the forget text of seed {seed} is empty. Give at least 1 token.")
