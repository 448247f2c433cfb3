"""Enough forget text to train directions on, where a fit had a few tokens or none: the model goes on from them by itself.

What it writes need not be in the behaviour: four tokens of German may be continued in English. The scale that was fitted
first tells them apart: text in the behaviour is what it changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.fitting.config import LEAST_TRAINED
from rankone.edits.fitting.run import Fit
from rankone.edits.fitting.text.self_text import (
    TOKENS,
    after_opener,
    continuations,
    encoded_openings,
    room_after,
)
from rankone.edits.lowrank import LowRankEdit
from rankone.metrics.cross_entropy import passage_losses
from rankone.models.context import context_length
from rankone.runtime.progress import meter
from rankone.text.blocks import Blocks, joined
from rankone.workspace import Workspace

ENOUGH = 1920
"""Tokens to train on."""
DRAWS = 6
"""How often so many are drawn, at most."""
IN_BEHAVIOUR, CHANGED = 0.5, 0.2
"""Of the largest rise; of what is between the text and chance."""
PIECE = 16
"""Tokens of an opening that is cut from forget text."""
SEED_STEP = 1000
"""Between the seeds of two draws."""


def enough_text(workspace: Workspace, fit: Fit, openings: Sequence[str] = ()) -> Blocks:
    """At most ENOUGH tokens that the model wrote by itself, of those in the behaviour that a fitted scale changes.

    openings: what they start with; none: the fit's own forget text, in pieces of up to PIECE tokens. Kept are the
    continuations whose mean cross-entropy the fit's edit raises by half of what it does to the one it changes most, and by
    a fifth of the way to chance: what a tolerance allows on other text is far below that. Where these are not enough, more
    are drawn, from how the kept ones begin, at most DRAWS times. Deterministic in the fit's seed.
    Raises RankOneError where fewer than LEAST_TRAINED tokens are kept.
    """
    context = context_length(workspace.model)
    piece = PIECE if context is None else min(PIECE, max(1, context // 4))
    starts = encoded_openings(workspace, openings) if openings else _pieces(workspace, fit.run.forget, piece)
    room = room_after(workspace, max(piece + 1, *map(len, starts)), TOKENS)
    rows, rises = -(-ENOUGH // room), list[Rises]()
    every = text = fit.run.forget.take(0)
    with meter("own text", rows) as bar:
        for draw in range(DRAWS):
            more = continuations(workspace, starts, fit.run.seed + draw * SEED_STEP, rows, room)
            every, before = joined([every, more]), len(text.ids)
            rises.append(_rises(workspace.model, fit.edit, more))
            kept = _kept(rises, workspace.chance)[:rows].to(every.ids.device)
            text = Blocks(every.ids[kept], every.valid[kept])
            bar.advance(max(0, len(kept) - before))
            if len(kept) == rows:
                break
            starts = _pieces(workspace, text, piece, most=1) or starts
    if text.tokens < LEAST_TRAINED:
        most = max(float(each.rise.max()) for each in rises)
        raise RankOneError(
            f"the model wrote {every.tokens:,} tokens by itself, but only {text.tokens} are in text that the scale changes "
            f"(at most by {most:.2f} nats), and training its directions takes {LEAST_TRAINED}. Give a part that the domain "
            "depends on, that many forget tokens (budget), or with self:DOMAIN other openings; or leave out train."
        )
    return text


class Rises(NamedTuple):
    """By how much an edit raises the mean cross-entropy of rows, and what it was, nats per token."""

    rise: Float[Tensor, " rows"]
    before: Float[Tensor, " rows"]


def _kept(rises: Sequence[Rises], chance: float) -> Int[Tensor, " kept"]:
    """The rows in the behaviour, in their order."""
    rise, before = (torch.cat(side) for side in zip(*rises, strict=True))
    enough = (rise >= IN_BEHAVIOUR * rise.max()) & (rise >= CHANGED * (chance - before))
    return (enough & (rise > 0)).nonzero().flatten()


def _pieces(workspace: Workspace, text: Blocks, length: int, most: int | None = None) -> list[list[int]]:
    """The scored tokens of every row, cut into pieces (of each row `most` of them), each after the opener."""
    rows = [ids[valid].tolist() for ids, valid in zip(text.ids, text.valid, strict=True)]
    pieces = [row[i : i + length] for row in rows for i in range(0, len(row), length)[:most]]
    return after_opener(workspace, pieces)


def _rises(model: PreTrainedModel, edit: LowRankEdit, text: Blocks) -> Rises:
    before = passage_losses(model, text)
    with edit.applied(model):
        after = passage_losses(model, text)
    return Rises((after.sums - before.sums) / before.tokens, before.sums / before.tokens)
