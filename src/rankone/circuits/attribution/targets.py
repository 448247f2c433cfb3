"""What a graph explains: tokens that the model may give next, or any sum and difference of logits.

`" her"` is one token, `" her"-" his"` a contrast. Nothing given: the fewest tokens that hold 95% of the probability, at
most ten (circuit-tracer's rule).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError, nearest
from rankone.text.vocabulary import spelled, spelling

COVERED, AT_MOST = 0.95, 10
_TERM = re.compile(r'\s*([+-]?)\s*"([^"]*)"')


@dataclass(frozen=True)
class Aim:
    """A linear function of the logits. terms: (token id, factor); text: how it is shown."""

    terms: tuple[tuple[int, float], ...]
    text: str

    @property
    def token(self) -> int | None:
        """Its token where it is one token's logit."""
        return self.terms[0][0] if len(self.terms) == 1 and self.terms[0][1] == 1 else None

    def seed(self, vocabulary: int) -> Float[Tensor, " vocab"]:
        """Factors per logit, less their mean: what softmax does not see is left out."""
        seed = torch.zeros(vocabulary, dtype=torch.float64)
        for token, factor in self.terms:
            seed[token] += factor
        return seed - seed.mean()


def parsed(text: str, tokenizer: PreTrainedTokenizerBase) -> Aim:
    """The aim that a text names; RankOneError for what is not a token, with the nearest ones."""
    if '"' not in text:
        return Aim(((token_id(text, tokenizer), 1.0),), f'"{text}"')
    terms, place = [], 0
    while place < len(text.rstrip()):
        match = _TERM.match(text, place)
        if match is None or (terms and not match[1]):
            raise RankOneError(
                f"""cannot read the target {text}: write a token in quotes, or a sum of them, as '" her"-" his"'."""
            )
        terms.append((token_id(match[2], tokenizer), -1.0 if match[1] == "-" else 1.0))
        place = match.end()
    if len({token for token, _ in terms}) < len(terms):
        raise RankOneError(f"the target {text} names a token twice.")
    return Aim(tuple(terms), text.strip())


def token_id(text: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """The one token of a text, its leading space included; RankOneError that offers the nearest."""
    ids: list[int] = list(tokenizer(text, add_special_tokens=False)["input_ids"])  # pyright: ignore
    if len(ids) == 1:
        return ids[0]
    pieces = [spelling(tokenizer, i) for i in ids]
    known = spelled(tokenizer)
    spaced = f" {text.lstrip()}"
    offered = nearest(spaced, known) or nearest(text, known)
    said = f"it is {len(ids)} tokens here ({' | '.join(pieces)})" if ids else "it is empty"
    raise RankOneError(
        f"the target '{text}' is not a token of this model: {said}. A word within a sentence has a space before it.{offered}"
    )


def likeliest(logits: Float[Tensor, " vocab"], tokenizer: PreTrainedTokenizerBase) -> list[Aim]:
    """The fewest tokens that hold COVERED of the probability, at most AT_MOST, likeliest first."""
    chances = logits.detach().double().softmax(-1)
    best, ids = chances.topk(min(AT_MOST, len(chances)))
    count = int((best.cumsum(0) < COVERED).sum()) + 1
    return [token_aim(i, tokenizer) for i in ids[:count].tolist()]


def token_aim(token: int, tokenizer: PreTrainedTokenizerBase) -> Aim:
    """The logit of one token."""
    return Aim(((token, 1.0),), f'"{spelling(tokenizer, token)}"')


def aims_of(
    text: str | None, logits: Float[Tensor, " vocab"], tokenizer: PreTrainedTokenizerBase
) -> Sequence[Aim]:
    """What was asked for, or the likeliest tokens."""
    return likeliest(logits, tokenizer) if text is None else [parsed(text, tokenizer)]
