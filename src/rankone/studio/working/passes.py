"""Passes over portions of text: of the base model once, of an edit from the first block that it changes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rankone.decomposition.prefix import Prefix, late_start
from rankone.models.blocks import all_blocks, blocks_of, outputs_seen
from rankone.models.output import output_of
from rankone.studio.working.portions import Portion
from rankone.studio.working.scoring import Scored, Scorer, holding
from rankone.text.blocks import Blocks


class Passes:
    """The base model's figures, and what its early blocks gave, kept between edits that begin at the same block."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model, self._stack = model, ExitStack()
        self._base: dict[Portion, Scored] = {}
        self._first, self._prefix = -1, Prefix(0, 0)
        self._seen: set[Portion] = set()
        # What every block gives of the text that is looked at first, so that no start has to run the blocks before it again.
        self._blocks, self._outputs = list(all_blocks(model) or ()), dict[Portion, list[object]]()
        self._scorer: Scorer | None = None

    def close(self) -> None:
        """Put the model's own modules back, so that others may work with it; what is kept serves the next start."""
        self._stack.close()
        self._scorer = None

    def start(self, sites: Sequence[str], kept: int, few: Blocks) -> None:
        """Get ready for edits of the sites on `kept` portions; few: some tokens [rows, length] to try the model on."""
        blocks = blocks_of(self._model, sites) if sites else None
        first = 0 if blocks is None else blocks.first
        if self._scorer is not None and first == self._first:
            return
        self.close()
        if first != self._first:
            self._first, self._prefix = first, Prefix(first, kept)
            self._seen.clear()
        self._scorer = self._stack.enter_context(holding(self._model, sites, few))
        if first:
            self._stack.enter_context(late_start(self._model, sites, kept, self._prefix))

    @torch.no_grad()
    def base(self, portion: Portion, first: bool) -> Scored:
        """The base model on a portion; run again where a late start must see it.

        first: of the first look, whose log-probabilities and blocks' outputs are kept.
        """
        if self.knows(portion):
            return self._base[portion]
        outputs: list[object] = []
        with outputs_seen(self._blocks if first else (), outputs):
            output = self._prefix.full(portion.blocks.ids, lambda: self._forward(portion))
        self._outputs[portion] = outputs[: len(self._blocks)]  # what follows is of a trial
        self._seen.add(portion)
        if portion not in self._base:
            self._base[portion] = self._score(output, portion, keep=first)
        return self._base[portion]

    def knows(self, portion: Portion) -> bool:
        """Whether `base` answers without a forward."""
        if portion not in self._base or self._first == 0 or portion in self._seen:
            return portion in self._base
        outputs = self._outputs[portion]
        if outputs and self._prefix.take(portion.blocks.ids, outputs[self._first - 1]):
            self._seen.add(portion)
        return portion in self._seen

    @torch.no_grad()
    def edited(self, portion: Portion, before: Scored) -> Scored:
        """The model as it stands on a portion, beside what it was."""
        output = self._prefix.late(portion.blocks.ids, lambda: self._forward(portion))
        return self._score(output, portion, before)

    def _forward(self, portion: Portion) -> Tensor:
        return output_of(self._model, portion.blocks.ids)

    def _score(
        self, output: Tensor, portion: Portion, before: Scored | None = None, keep: bool = False
    ) -> Scored:
        assert self._scorer is not None
        return self._scorer.score(output, portion.blocks, None if before is None else before.logs, keep)
