"""A tiny chat model: a Llama of 300 entries under a byte tokenizer with a chat template."""

from __future__ import annotations

from tests import helpers
from tests.chatting import CHATML

from rankone.text.sources.builtin import BuiltinCorpus
from rankone.workspace import Workspace


def workspace(chat: bool = True, layers: int = 2) -> Workspace:
    """Model and tokenizer fit; the answers are noise. Without `chat` there is no template."""
    model, tokenizer = helpers.llama(layers=layers), helpers.tokenizer()
    model.config.max_position_embeddings = 2048
    tokenizer.chat_template = CHATML if chat else None
    return Workspace(model, tokenizer, BuiltinCorpus())


def silent(space: Workspace) -> Workspace:
    """The same, but every answer ends at once: all logits are 0, and the smallest id, EOS, is the likeliest."""
    space.model.lm_head.weight.data.zero_()
    return space
