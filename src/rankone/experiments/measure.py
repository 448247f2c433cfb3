"""Cross-entropy of a model on labelled text, before and after edits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.core.errors import RankOneError
from rankone.edits.lowrank import LowRankEdit
from rankone.metrics.cross_entropy import cross_entropies
from rankone.models.context import context_length
from rankone.text.blocks import Blocks
from rankone.text.openers import opener_id


def edited_cross_entropies(
    model: PreTrainedModel, edit: LowRankEdit, text: Mapping[str, Blocks]
) -> dict[str, float]:
    """Cross-entropy per domain with the edit in the weights; the model is put back bit for bit."""
    with edit.applied(model):
        return cross_entropies(model, text)


def rollout(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: int = 40) -> str:
    """Greedy continuation of a prompt (without it); RankOneError where both do not fit the model's context."""
    if tokens < 1:
        raise RankOneError(f"{tokens} tokens are asked for; ask for at least 1.")
    first = opener_id(tokenizer)
    said: list[int] = tokenizer(prompt, add_special_tokens=False)["input_ids"]  # pyright: ignore[reportAssignmentType]
    ids = said if first is None else [first, *said]
    longest = context_length(model)
    if longest is not None and len(ids) + tokens > longest:
        raise RankOneError(
            f"a prompt of {len(ids)} tokens and {tokens} more are longer than the {longest} positions the model reads. "
            "Shorten the prompt, or ask for fewer tokens."
        )
    with torch.no_grad():
        out = model.generate(torch.tensor([ids], device=model.device), max_new_tokens=tokens, do_sample=False)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    return tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)  # pyright: ignore[reportReturnType]
