"""Cross-entropy of a model on labelled text, before and after edits."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.edits.lowrank import LowRankEdit
from rankone.text.blocks import Blocks, bos_id

ROWS_AT_ONCE = 16


def cross_entropy(model: PreTrainedModel, blocks: Blocks) -> float:
    """Mean next-token cross-entropy in nats over the text tokens (the prediction of BOS never counts)."""
    total = 0.0
    for ids, valid in zip(blocks.ids.split(ROWS_AT_ONCE), blocks.valid.split(ROWS_AT_ONCE), strict=True):
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        keep = valid[:, 1:]
        total += F.cross_entropy(logits[keep].float(), ids[:, 1:][keep], reduction="sum").item()
    return total / blocks.tokens


def cross_entropies(model: PreTrainedModel, text: Mapping[str, Blocks]) -> dict[str, float]:
    """Cross-entropy per domain."""
    return {domain: cross_entropy(model, blocks) for domain, blocks in text.items()}


def edited_cross_entropies(
    model: PreTrainedModel, edit: LowRankEdit, text: Mapping[str, Blocks]
) -> dict[str, float]:
    """Cross-entropy per domain with the edit in the weights; the model is put back bit for bit."""
    with edit.apply(model):
        return cross_entropies(model, text)


def rollout(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, tokens: int = 40) -> str:
    """Greedy continuation of a prompt (without it)."""
    ids = [bos_id(tokenizer), *tokenizer(prompt, add_special_tokens=False)["input_ids"]]  # pyright: ignore[reportGeneralTypeIssues]
    with torch.no_grad():
        out = model.generate(torch.tensor([ids]), max_new_tokens=tokens, do_sample=False)  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    return tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)  # pyright: ignore[reportReturnType]
