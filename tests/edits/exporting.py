"""What the tests of exports share: edits of mixed ranks, logits with one, an empty folder."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.helpers import random_edit

from rankone.edits.lowrank import LowRankEdit


def edited_logits(model, edit, ids) -> torch.Tensor:
    with torch.no_grad(), edit.applied(model):
        return model(ids).logits


def nothing_left(folder: Path) -> bool:
    return not folder.exists() or not list(folder.iterdir())


def mixed_ranks(model) -> LowRankEdit:
    patterns = {"*.0.*c_fc": 3, "*.1.*c_proj": 1} if "gpt2" in model.config.model_type else {"*.0.mlp.*": 3}
    others = {} if "gpt2" in model.config.model_type else {"*.1.*q_proj": 1}
    return random_edit(model, {**patterns, **others}).bind(model)
