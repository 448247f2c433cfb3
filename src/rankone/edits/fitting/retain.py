"""Retain text with what the base model says there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Measure
from rankone.edits.fitting.passes.choose import forward_of
from rankone.edits.fitting.passes.forward import Forward, Text
from rankone.edits.fitting.size import Held
from rankone.text.blocks import Blocks

# Kinds of edits whose kept text stays in memory.
KEPT = 2


class Prepared(NamedTuple):
    """A forward, and retain text as it keeps it."""

    forward: Forward
    text: Text


class RetainText:
    """Rows to hold, what the base model says there computed once for all runs; domains take turns row by row.

    Is on the model's device. text: the rows by domain, for measuring. Raises RankOneError where a text is empty.
    """

    def __init__(self, model: PreTrainedModel, text: Blocks | Mapping[str, Blocks]) -> None:
        domains = {"": text} if isinstance(text, Blocks) else dict(text)
        if not domains:
            raise RankOneError("no retain text is given: name at least one domain to hold.")
        for domain, blocks in domains.items():
            if blocks.tokens == 0:
                raise RankOneError(f"the retain text{f' of {domain!r}' if domain else ''} is empty.")
        device = next(model.parameters()).device
        self.model, self.text = model, domains
        self.ids, self.present = (t.to(device) for t in _in_turn(list(domains.values())))
        self._prepared: dict[tuple[str, ...], Prepared] = {}
        self._held: dict[tuple[tuple[str, ...], Measure], Held] = {}

    def prepared(self, sites: Sequence[str]) -> Prepared:
        """The forward for edits of these sites and what it keeps of the rows; those of the last few kinds stay."""
        key = tuple(sites)
        if key not in self._prepared:
            forward = forward_of(self.model, key, self.ids)
            made = Prepared(forward, forward.prepare(self.ids))
            self._prepared = dict([*self._prepared.items(), (key, made)][-KEPT:])
        return self._prepared[key]

    def held(self, sites: Sequence[str], measure: Measure = "kl") -> Held:
        """The text that the size of edits of these sites is measured on; that of the last few kinds stays."""
        key = (tuple(sites), measure)
        if key not in self._held:
            made = Held(self.model, key[0], self.text, measure)
            self._held = dict([*self._held.items(), (key, made)][-KEPT:])
        return self._held[key]

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
