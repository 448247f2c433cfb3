"""The forget text of many runs, stacked: each run takes its own rows in order and round again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.text.blocks import Blocks

ROWS_AT_ONCE = 8
Target = Literal["expected", "sampled"]


class ForgetText:
    """The forget rows of all runs, padded to the longest, on the model's device.

    scored: [rows, T], the positions whose prediction enters the loss. targets: next-token ids (`sampled`), or the base
    model's next-token probabilities (`expected`). rows: rows that a run takes at each step.
    """

    def __init__(
        self, model: PreTrainedModel, texts: Sequence[Blocks], target: Target = "expected", rows: int = 1
    ) -> None:
        device = next(model.parameters()).device
        width = max(b.ids.shape[1] for b in texts)
        self.ids = torch.cat([F.pad(b.ids, (0, width - b.ids.shape[1])) for b in texts]).to(device)
        valid = torch.cat([F.pad(b.valid, (0, width - b.ids.shape[1])) for b in texts]).to(device)
        if target == "expected":
            with torch.no_grad():
                odds = [
                    model(input_ids=ids, use_cache=False).logits.float().softmax(-1)
                    for ids in self.ids.split(ROWS_AT_ONCE)
                ]
            self.targets: Tensor = torch.cat(odds)
            self.scored: Bool[Tensor, "rows t"] = valid
        else:
            self.targets = self.ids.roll(-1, dims=1)
            self.scored = F.pad(valid[:, 1:], (0, 1))
        self.count = rows
        self.lengths = torch.tensor([[len(b.ids)] for b in texts], device=device)
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.turns = torch.arange(rows, device=device)

    def rows(self, step: int) -> tuple[Int[Tensor, "rows t"], Tensor, Bool[Tensor, "rows t"]]:
        """Ids, targets and scored positions of one step; a run with fewer rows than asked has each of them once."""
        index = (self.starts + (step * self.count + self.turns) % self.lengths).flatten()
        once = (self.turns < self.lengths).flatten().unsqueeze(1)
        return self.ids[index], self.targets[index], self.scored[index] & once


def refuse_empty(texts: Sequence[tuple[int, Blocks]]) -> None:
    """RankOneError naming the seed of a run without forget text."""
    for seed, blocks in texts:
        if blocks.tokens == 0:
            raise RankOneError(f"the forget text of seed {seed} is empty. Give at least 1 token.")
