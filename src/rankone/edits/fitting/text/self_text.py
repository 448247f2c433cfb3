"""The model's own text in a behaviour: continuations of a few openings, as forget text that no corpus gave.

Only the tokens that the model wrote are scored; the opening is context. Drawn at a temperature below 1, so that a small
model stays in the language, with a generator of its own; the end of text is never drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.models.context import context_length, require_context
from rankone.models.output import require_finite_logits
from rankone.text.blocks import Blocks
from rankone.text.openers import opener_id
from rankone.workspace import Workspace

TEMPERATURE = 0.8
ROWS, TOKENS = 8, 48
"""Continuations, and tokens of each."""


def self_text(
    workspace: Workspace, openings: Sequence[str], seed: int = 0, rows: int = ROWS, tokens: int = TOKENS
) -> Blocks:
    """`rows` continuations of `tokens` tokens (fewer where the context ends), the openings in turn, on the model's device.

    Raises RankOneError where an opening is empty or does not fit the model's context.
    """
    encoded = [_encoded(workspace.tokenizer, workspace.opener, text) for text in openings]
    longest = max(map(len, encoded))
    require_context(workspace.model, longest + 1)
    tokens = min(tokens, (context_length(workspace.model) or longest + tokens) - longest)
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for i, start in enumerate(encoded):
        count = len(range(i, rows, len(encoded)))
        if count:
            drawn.append((len(start), _continued(workspace, start, count, tokens, generator)))
    width = max(ids.shape[1] for _, ids in drawn)
    places = torch.arange(width)
    valid = [((places >= start) & (places < ids.shape[1])).expand(len(ids), -1) for start, ids in drawn]
    ids = torch.cat([F.pad(ids, (0, width - ids.shape[1])) for _, ids in drawn])
    return Blocks(ids, torch.cat(valid)).to(workspace.device)


def _encoded(tokenizer: PreTrainedTokenizerBase, opener: str, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]  # pyright: ignore[reportAssignmentType]
    if not ids:
        raise RankOneError("an opening of the model's own text is empty. Give a few words.")
    first = opener_id(tokenizer, opener)
    return ids if first is None else [first, *ids]


@torch.no_grad()
def _continued(
    workspace: Workspace, start: list[int], count: int, tokens: int, generator: torch.Generator
) -> torch.Tensor:
    """[count, len(start) + tokens] ids on the CPU; the draws are made there, so that they are the same on every device."""
    tokenizer, model = workspace.tokenizer, workspace.model
    special = sorted(i for i in tokenizer.all_special_ids if i < workspace.vocabulary)
    ids = torch.tensor([start] * count)
    for _ in range(tokens):
        logits = model(input_ids=ids.to(workspace.device), use_cache=False).logits[:, -1].float().cpu()
        require_finite_logits(logits)
        logits[:, special] = -torch.inf
        odds = (logits / TEMPERATURE).softmax(-1)
        ids = torch.cat((ids, torch.multinomial(odds, 1, generator=generator)), dim=1)
    return ids
