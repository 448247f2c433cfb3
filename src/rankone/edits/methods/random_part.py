"""A control: a part of the same decomposition and matrix, drawn without looking, with one scale."""

from __future__ import annotations

import torch

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.methods.kind import Kind, Target
from rankone.edits.scales import both_signs

SEED = 0


def drawn_part(target: Target) -> str:
    """One of the other parts of the picked part's matrix, each as likely; RankOneError where there is none."""
    others = [
        n for n in target.parts.names() if target.parts.locate(n)[0] == target.site and n != target.single
    ]
    if not others:
        raise RankOneError(f"'{target.single}' is the only part of its matrix: none is left to draw.")
    return others[int(torch.randint(len(others), (1,), generator=torch.Generator().manual_seed(SEED)))]


def _starts(target: Target) -> list[Method]:
    return both_signs(target.parts, [drawn_part(target)], "random_part")


KINDS = (Kind("random_part", "a random part", 14, 4, _starts, (0.5,), (1.0,), one_scale=True),)
