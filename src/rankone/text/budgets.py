"""Forget text under a budget: exactly so many tokens, and nothing else, shown to a fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.text.blocks import Blocks, encode

# An opening has no context yet, so its predictions say little about the language: windows start this far in.
OPENING = 16
_FIRST = 8  # documents that are encoded at first


def budget_windows(
    tokenizer: PreTrainedTokenizerBase,
    documents: Sequence[str],
    tokens: int,
    length: int,
    what: str = "the forget text",
) -> Blocks:
    """Rows of at most `length` consecutive tokens from inside documents, without BOS, `tokens` tokens in all.

    Every token of a row counts against the budget, the ones that only serve as context too. Raises RankOneError
    when the documents hold fewer tokens than that after their openings.
    """
    pieces: list[list[int]] = []
    left = tokens
    for ids in _encoded(tokenizer, documents):
        for start in range(OPENING, len(ids), length):
            piece = ids[start : start + min(length, left)]
            pieces.append(piece)
            left -= len(piece)
            if left == 0:
                return _rows(pieces)
    raise RankOneError(
        f"{what} has {tokens - left} tokens beyond the first {OPENING} of each document, but {tokens} are needed. "
        "Give more text or ask for less."
    )


def _encoded(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> Iterator[list[int]]:
    """Ids of one document after the other, twice as many at a time: a small budget needs few of thousands."""
    start, count = 0, _FIRST
    while start < len(documents):
        yield from encode(tokenizer, documents[start : start + count])
        start, count = start + count, 2 * count


def _rows(pieces: list[list[int]]) -> Blocks:
    width = max(map(len, pieces))
    ids = torch.stack([F.pad(torch.tensor(piece), (0, width - len(piece))) for piece in pieces])
    valid = torch.stack([torch.arange(width) < len(piece) for piece in pieces])
    return Blocks(ids, valid)
