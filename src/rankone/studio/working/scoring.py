"""Predictions of what is scored: cross-entropy and distance from kept ones, in one pass over the vocabulary.

Where the unembedding is the model's last word it is held back: the forward ends with hidden states, and logits are formed
of scored positions alone, some at a time, so that they stay in a processor's caches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.decomposition.training.head import Head, held_back, logits_at_once
from rankone.metrics.cross_entropy import losses_of_logs
from rankone.metrics.kl import kl_of_logs
from rankone.models.output import vocabulary_size
from rankone.text.blocks import Blocks


@dataclass(frozen=True)
class Scored:
    """Rows as a model predicts them. losses: nats, 0 where nothing is scored. logs: log-probabilities at what is scored,
    row after row, where they are kept; kl: KL from kept ones to these, where there are some, at the same places."""

    losses: Float[Tensor, "rows length"]
    logs: Float[Tensor, "scored vocab"] | None = None
    kl: Float[Tensor, " scored"] | None = None


class Scorer:
    """Scores what the model's forward gives while `holding` is in force: hidden states with a head, or logits."""

    def __init__(self, model: PreTrainedModel, head: Head | None) -> None:
        self._head, self._at_once = head, logits_at_once(model.device, vocabulary_size(model))

    @torch.no_grad()
    def score(
        self,
        output: Float[Tensor, "rows length out"],
        blocks: Blocks,
        base: Float[Tensor, "scored vocab"] | None = None,
        keep: bool = False,
    ) -> Scored:
        """Losses of the rows that gave the output; base: log-probabilities to measure from; keep: the logs too."""
        scored = blocks.valid.clone()
        scored[:, 0] = False
        states, targets = output[:, :-1][scored[:, 1:]], blocks.ids[scored]
        losses, kl, logs = [], [], []
        for start in range(0, len(targets), self._at_once):
            piece = slice(start, start + self._at_once)
            here = self._logs(states[piece])
            losses.append(losses_of_logs(here, targets[piece]))
            if base is not None:
                kl.append(kl_of_logs(base[piece], here))
            if keep:
                logs.append(here)
        each = torch.cat(losses) if losses else output.new_zeros(0, dtype=torch.float32)
        whole = torch.zeros_like(scored, dtype=each.dtype).masked_scatter(scored, each)
        return Scored(whole, torch.cat(logs) if logs else None, torch.cat(kl) if kl else None)

    def _logs(self, states: Float[Tensor, "n out"]) -> Float[Tensor, "n vocab"]:
        logits = states if self._head is None else self._head.logits(states)
        return F.log_softmax(logits, dim=-1, dtype=torch.float32)


@contextmanager
def holding(model: PreTrainedModel, sites: Sequence[str], few: Blocks) -> Iterator[Scorer]:
    """A scorer for a model whose unembedding is taken out while the block runs, unless it is one of the `sites` or bent."""
    with held_back(model, sites, lambda: few.ids) as head:
        yield Scorer(model, head)
