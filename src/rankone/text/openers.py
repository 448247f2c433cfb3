"""The token that opens a row of text: the one place where it is chosen.

A model has learned one opener for plain text. Its BOS is not always it: in SmolLM2-Instruct BOS is the `<|im_start|>`
that opens every turn of a chat, and plain text after it is read .14 nats worse (English) than after `<|endoftext|>`.
"""

from __future__ import annotations

from typing import NamedTuple

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from rankone.core.errors import RankOneError, nearest

AUTO, BOS, END, NONE = "auto", "bos", "end-of-text", "none"
CHOICES = (AUTO, BOS, END, NONE)
# How tokenizers call the token between texts, where it is not their EOS.
_ENDS = ("<|endoftext|>", "<|end_of_text|>", "<|end▁of▁sentence|>", "</s>", "<eos>", "[EOS]")
# Turns enough to tell what stands once in a text from what stands in every turn.
_TURNS = [{"role": role, "content": "a"} for role in ("user", "assistant", "user", "assistant")]


class Opener(NamedTuple):
    """What opens a row: a token id and its text, or None and '' for nothing. why: the reason, for a person."""

    id: int | None
    token: str
    why: str


def opener(tokenizer: PreTrainedTokenizerBase, choice: str = AUTO) -> Opener:
    """The opener by choice: `auto`, `bos`, `end-of-text`, `none`, or a special token in full (`<|endoftext|>`).

    `auto` is BOS, unless the tokenizer has none or its chat template opens turns with it; then the token between texts.
    Raises RankOneError for a token that is not special and for a choice that this tokenizer does not have.
    """
    if choice == AUTO:
        return _automatic(tokenizer)
    if choice == NONE:
        return Opener(None, "", "chosen: rows start with the text itself")
    token = {BOS: tokenizer.bos_token, END: end_of_text(tokenizer)}.get(choice, choice)
    if token is None:
        raise RankOneError(
            f"the tokenizer has no {choice} token. Choose another opener: {_offered(tokenizer)}."
        )
    if token not in _special(tokenizer):
        known = [*CHOICES, *_special(tokenizer)]
        raise RankOneError(
            f"'{choice}' opens no text: it is not a special token of this tokenizer. Choose {_offered(tokenizer)}."
            f"{nearest(choice, known)}"
        )
    return Opener(_special(tokenizer)[str(token)], str(token), "chosen")


def opener_id(tokenizer: PreTrainedTokenizerBase, choice: str = AUTO) -> int | None:
    """The id of `opener`; None where rows start with the text itself."""
    return opener(tokenizer, choice).id


def end_of_text(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The token between texts: EOS, unless it ends every turn of a chat and there is one that ends texts."""
    eos = tokenizer.eos_token
    if eos is not None and not _in_every_turn(tokenizer, str(eos)):
        return str(eos)
    return next((token for token in _ENDS if token in _special(tokenizer)), None if eos is None else str(eos))


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids that no plain text is made of. A text that starts with one (a chat in its template) opens itself."""
    return frozenset(_special(tokenizer).values())


def candidates(tokenizer: PreTrainedTokenizerBase) -> list[Opener]:
    """The openers worth comparing: BOS, the token between texts, nothing; each once."""
    chosen = [
        c for c, token in ((BOS, tokenizer.bos_token), (END, end_of_text(tokenizer))) if token is not None
    ]
    tried = [opener(tokenizer, c) for c in [*chosen, NONE]]
    return [o for at, o in enumerate(tried) if o.id not in [other.id for other in tried[:at]]]


def _automatic(tokenizer: PreTrainedTokenizerBase) -> Opener:
    bos, end = tokenizer.bos_token, end_of_text(tokenizer)
    if bos is not None and (end is None or end == bos or not _in_every_turn(tokenizer, str(bos))):
        return Opener(_special(tokenizer)[str(bos)], str(bos), "the tokenizer's BOS")
    if end is None:
        raise RankOneError("the tokenizer has neither a BOS nor an EOS token; set one of them.")
    why = (
        "the tokenizer has no BOS"
        if bos is None
        else f"the chat template opens every turn with the BOS {bos}"
    )
    return Opener(_special(tokenizer)[end], end, why)


def _in_every_turn(tokenizer: PreTrainedTokenizerBase, token: str) -> bool:
    """Whether the chat template writes a token more than once in four turns (no template, or one that fails: no)."""
    if not tokenizer.chat_template:
        return False
    try:
        said = tokenizer.apply_chat_template(_TURNS, tokenize=False)
    except (TemplateError, TypeError, ValueError, KeyError):
        return False
    return str(said).count(token) > 1


def _special(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Text → id of the tokens that no plain text is made of."""
    added = {t.content: i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    named = dict(zip(map(str, tokenizer.all_special_tokens), tokenizer.all_special_ids, strict=True))
    return {**added, **named}


def _offered(tokenizer: PreTrainedTokenizerBase) -> str:
    return f"{', '.join(CHOICES)} or one of {', '.join(list(_special(tokenizer))[:8])}"
