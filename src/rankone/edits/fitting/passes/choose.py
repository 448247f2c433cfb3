"""Which forward serves a model and an edit's sites: the cheapest that holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.decomposition.training.head import head_of, held_back
from rankone.edits.fitting.passes.forward import Forward
from rankone.edits.fitting.passes.last_write import LastWriteForward
from rankone.edits.fitting.passes.late import LateForward
from rankone.edits.fitting.passes.whole import WholeForward

FEW_ROWS, FEW = 2, 8


def forward_of(model: PreTrainedModel, sites: Sequence[str], ids: Int[Tensor, "rows t"]) -> Forward:
    """The forward for edits of these sites; `ids` are a few tokens to try it on."""
    few = ids[:FEW_ROWS, :FEW]
    head = _head(model, sites, few)
    if head is None:
        return WholeForward(model)
    with torch.no_grad():
        last = LastWriteForward(model, sites, head, few)
        return last if last.holds else LateForward(model, sites, head, few)


def _head(model: PreTrainedModel, sites: Sequence[str], few: Tensor) -> str | None:
    """The path of the unembedding where it is the model's last layer."""
    name = head_of(model, sites)
    if name is None:
        return None
    with held_back(model, sites, lambda: few) as head:
        return None if head is None else name
