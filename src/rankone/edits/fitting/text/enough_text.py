"""Enough forget text to train directions on, where a fit had a few tokens or none: the model goes on from them by itself.

What it writes need not be in the behaviour: four tokens of German may be continued in English. The scale that was fitted
first tells them apart: text in the behaviour is what it changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.fitting.config import LEAST_TRAINED
from rankone.edits.fitting.run import Fit
from rankone.edits.fitting.text.self_text import TOKENS, continuations, encoded_openings
from rankone.edits.lowrank import LowRankEdit
from rankone.metrics.cross_entropy import passage_losses
from rankone.runtime.progress import meter
from rankone.text.blocks import Blocks, joined
from rankone.text.openers import opener_id
from rankone.workspace import Workspace

ENOUGH = 1920
"""Tokens to train on."""
DRAWS = 6
"""How often so many are drawn, at most."""
IN_BEHAVIOUR = 0.5
"""Of the largest rise."""
PIECE = 16
"""Tokens of an opening that is cut from forget text."""
SEED_STEP = 1000
"""Between the seeds of two draws."""


def enough_text(workspace: Workspace, fit: Fit, openings: Sequence[str] = ()) -> Blocks:
    """At most ENOUGH tokens that the model wrote by itself, of those in the behaviour that a fitted scale changes.

    openings: what they start with; none: the fit's own forget text, in pieces of up to PIECE tokens. Kept are the
    continuations whose mean cross-entropy the fit's edit raises by half of what it does to the one it changes most. Where
    that is not enough, more are drawn, from how the kept ones begin, at most DRAWS times. Deterministic in the fit's seed.
    Raises RankOneError where fewer than LEAST_TRAINED tokens are kept.
    """
    if openings:
        starts = encoded_openings(workspace, openings)
    else:
        starts = _pieces(workspace, fit.run.forget)
    rows, rises = -(-ENOUGH // TOKENS), list[Float[Tensor, " rows"]]()
    every = text = fit.run.forget.rows(0, 0)
    with meter("own text", rows) as bar:
        for draw in range(DRAWS):
            more = continuations(workspace, starts, fit.run.seed + draw * SEED_STEP, rows, TOKENS)
            every, before = joined([every, more]), len(text.ids)
            rises.append(_rises(workspace.model, fit.edit, more))
            rise = torch.cat(rises)
            kept = (rise >= IN_BEHAVIOUR * float(rise.max())).nonzero().flatten()[:rows]
            at = kept.to(every.ids.device)
            text = Blocks(every.ids[at], every.valid[at])
            bar.advance(max(0, len(kept) - before))
            if len(kept) == rows:
                break
            starts = _pieces(workspace, text, most=1)
    if text.tokens < LEAST_TRAINED:
        raise RankOneError(
            f"the model wrote {every.tokens:,} tokens by itself, but only {text.tokens} are in text that the scale changes; "
            f"training its directions takes {LEAST_TRAINED}. Give that many forget tokens (budget), or openings that the "
            "model continues in the behaviour."
        )
    return text


def _pieces(workspace: Workspace, text: Blocks, most: int | None = None) -> list[list[int]]:
    """The scored tokens of every row, cut into pieces (of each row `most` of them), each after the opener."""
    first = opener_id(workspace.tokenizer, workspace.opener)
    before = [] if first is None else [first]
    rows = [ids[valid].tolist() for ids, valid in zip(text.ids, text.valid, strict=True)]
    return [[*before, *row[i : i + PIECE]] for row in rows for i in range(0, len(row), PIECE)[:most]]


def _rises(model: PreTrainedModel, edit: LowRankEdit, text: Blocks) -> Float[Tensor, " rows"]:
    """By how much an edit raises the mean cross-entropy of every row, nats per token."""
    before = passage_losses(model, text)
    with edit.applied(model):
        after = passage_losses(model, text)
    return (after.sums - before.sums) / before.tokens
