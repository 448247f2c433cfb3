"""The model's own text in a behaviour: continuations of a few openings, as forget text that no corpus gave.

Only the tokens that the model wrote are scored; the opening is context. Drawn at a temperature below 1, so that a small
model stays in the language, with a generator of its own; the end of text is never drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.models.context import context_length, require_context
from rankone.models.output import require_finite_logits
from rankone.text.blocks import Blocks, joined
from rankone.text.openers import opener_id
from rankone.workspace import Workspace

TEMPERATURE = 0.8
ROWS, TOKENS = 8, 48
"""Continuations, and tokens of each."""


def self_text(
    workspace: Workspace, openings: Sequence[str], seed: int = 0, rows: int = ROWS, tokens: int = TOKENS
) -> Blocks:
    """`rows` continuations of `tokens` tokens (fewer where the context ends), as many of each opening and those of one
    together, on the model's device.

    Raises RankOneError where an opening is empty or does not fit the model's context.
    """
    return continuations(workspace, encoded_openings(workspace, openings), seed, rows, tokens)


def encoded_openings(workspace: Workspace, openings: Sequence[str]) -> list[list[int]]:
    """The ids of each opening after the opener; RankOneError for one that is empty."""
    return after_opener(workspace, [_encoded(workspace.tokenizer, text) for text in openings])


def continuations(
    workspace: Workspace, starts: Sequence[Sequence[int]], seed: int, rows: int, tokens: int
) -> Blocks:
    """The same from ids.

    Neighbouring rows have different openings, so that the first few of them say as much as all.
    """
    tokens = room_after(workspace, max(map(len, starts)), tokens)
    generator = torch.Generator().manual_seed(seed)
    taken = [range(i, rows, len(starts)) for i in range(min(rows, len(starts)))]
    drawn: list[Blocks] = []
    for start, turns in zip(starts, taken, strict=False):
        ids = _continued(workspace, start, len(turns), tokens, generator)
        places = torch.arange(ids.shape[1])
        drawn.append(Blocks(ids, (places >= len(start)).expand(len(turns), -1)))
    text, order = joined(drawn), torch.tensor(list(chain.from_iterable(taken))).argsort()
    return Blocks(text.ids[order], text.valid[order]).to(workspace.device)


def room_after(workspace: Workspace, length: int, tokens: int) -> int:
    """So many tokens, or as many as the context has room for after `length`; RankOneError where it has none."""
    require_context(workspace.model, length + 1)
    return min(tokens, (context_length(workspace.model) or length + tokens) - length)


def after_opener(workspace: Workspace, texts: Sequence[Sequence[int]]) -> list[list[int]]:
    """The ids of texts, after the opener where there is one."""
    first = opener_id(workspace.tokenizer, workspace.opener)
    before = [] if first is None else [first]
    return [[*before, *ids] for ids in texts]


def _encoded(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore[reportAssignmentType]
    if not ids:
        raise RankOneError("an opening of the model's own text is empty. Give a few words.")
    return ids


@torch.no_grad()
def _continued(
    workspace: Workspace, start: Sequence[int], count: int, tokens: int, generator: torch.Generator
) -> Int[Tensor, "count length"]:
    """[count, len(start) + tokens] ids on the CPU; the draws are made there, so that they are the same on every device."""
    tokenizer, model = workspace.tokenizer, workspace.model
    special = sorted(i for i in tokenizer.all_special_ids if i < workspace.vocabulary)
    ids = read = torch.tensor([list(start)] * count)
    kept: dict[str, Any] = {}
    for _ in range(tokens):
        output = model(input_ids=read.to(workspace.device), use_cache=True, **kept)
        logits = output.logits[:, -1].float().cpu()
        require_finite_logits(logits)
        logits[:, special] = -torch.inf
        odds = (logits / TEMPERATURE).softmax(-1)
        drawn = torch.multinomial(odds, 1, generator=generator)
        ids = torch.cat((ids, drawn), dim=1)
        # What a model that keeps keys and values has read it need not read again.
        cache = getattr(output, "past_key_values", None)
        kept, read = ({}, ids) if cache is None else ({"past_key_values": cache}, drawn)
    return ids
