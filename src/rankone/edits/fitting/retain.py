"""Retain text with what the base model says there: its likeliest tokens one by one, all others together."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.metrics.top_tokens import TOP, TopTokens, top_tokens
from rankone.text.blocks import Blocks

ROWS_AT_ONCE = 8


class RetainText:
    """Rows to hold with the base model's top tokens, computed once for all runs; domains take turns row by row.

    Lives on the model's device. top: tokens kept at each position. text: the rows by domain, for measuring. Raises
    RankOneError where a text is empty.
    """

    def __init__(self, model: PreTrainedModel, text: Blocks | Mapping[str, Blocks], top: int = TOP) -> None:
        domains = {"": text} if isinstance(text, Blocks) else dict(text)
        if not domains:
            raise RankOneError("no retain text is given: name at least one domain to hold.")
        for domain, blocks in domains.items():
            if blocks.tokens == 0:
                raise RankOneError(f"the retain text{f' of {domain!r}' if domain else ''} is empty.")
        device = next(model.parameters()).device
        self.text = domains
        self.ids, self.present = (t.to(device) for t in _in_turn(list(domains.values())))
        with torch.no_grad():
            kept = [
                top_tokens(model(input_ids=ids, use_cache=False).logits, top)
                for ids in self.ids.split(ROWS_AT_ONCE)
            ]
        self.base = TopTokens(*(torch.cat(parts) for parts in zip(*kept, strict=True)))

    @property
    def remainder(self) -> float:
        """The base's probability outside the tokens kept, mean over positions: the weight of what the KL leaves out."""
        return float(self.base.rest.exp()[self.present].mean())

    def rows(self, step: int, count: int) -> Int[Tensor, " count"]:
        """The rows of one step, the same for every run, in order and round again."""
        return (torch.arange(count, device=self.ids.device) + step * count) % len(self.ids)


def _in_turn(
    texts: list[Blocks],
) -> tuple[Int[Tensor, "rows length"], Bool[Tensor, "rows length"]]:
    """(ids, present) of all rows, padded to the longest, the first of every text, then the second, …"""
    width = max(blocks.ids.shape[1] for blocks in texts)
    order = sorted((row, i) for i, blocks in enumerate(texts) for row in range(len(blocks.ids)))

    def padded(rows: Tensor) -> Tensor:
        return F.pad(rows, (0, width - rows.shape[1]))

    ids, present = [padded(b.ids) for b in texts], [padded(b.present) for b in texts]
    return (
        torch.stack([ids[i][row] for row, i in order]),
        torch.stack([present[i][row] for row, i in order]),
    )
