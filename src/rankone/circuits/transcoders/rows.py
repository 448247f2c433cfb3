"""Rows of text without padding, equal shares of its domains: what transcoders are trained and judged on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from rankone.core.errors import RankOneError
from rankone.subject import Subject
from rankone.text.mix import DomainMix
from rankone.text.mixture import mixture_pieces, mixture_rows


def packed_rows(
    subject: Subject, domains: Sequence[str], split: str, tokens: int, context: int, least: int, seed: int
) -> Int[np.ndarray, "rows context"]:
    """About `tokens` tokens of a split in shuffled rows of `context`; RankOneError where there are fewer than `least`."""
    mixture = {domain: DomainMix(weight=1) for domain in domains}
    rng = np.random.default_rng(seed)
    pieces = mixture_pieces(subject.corpus, mixture, tokens, rng, split)
    rows = mixture_rows(subject.tokenizer, pieces, mixture, tokens, context, rng)
    if rows.size < least:
        raise RankOneError(
            f"{rows.size:,} tokens of {split} text are fewer than the {least:,} needed. Give more text, or a smaller batch."
        )
    return rows
