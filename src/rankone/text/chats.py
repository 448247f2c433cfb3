"""Conversations as text: turns, the target's chat template around them, and which of its tokens are the assistant's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rankone.core.errors import RankOneError
from rankone.text.template import NO_TEMPLATE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASSISTANT = "assistant"


class Turn(NamedTuple):
    """Who speaks (`system`, `user`, `assistant`, …) and what is said."""

    role: str
    content: str


class Chat(str):
    """A conversation: as a string its transcript, so that what counts, deals or shows documents takes it as it is.

    What makes token rows of it applies the chat template to its turns.
    """

    turns: tuple[Turn, ...]

    def __new__(cls, turns: Sequence[Turn]) -> Chat:
        """A conversation of at least one turn of the assistant; ValueError for others."""
        if not any(turn.role == ASSISTANT for turn in turns):
            raise ValueError("a conversation without a turn of the assistant: there is nothing to score")
        made = super().__new__(cls, "\n\n".join(f"{turn.role}: {turn.content}" for turn in turns))
        made.turns = tuple(turns)
        return made


class Encoded(NamedTuple):
    """Token ids of one document and which of them are scored."""

    ids: list[int]
    scored: list[bool]


def chat_prompt(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn]) -> list[int]:
    """Token ids of a conversation up to where the assistant speaks next: what a chat model is given."""
    return _ids(tokenizer, rendered(tokenizer, turns, answering=True))


def encode_chat(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> Encoded:
    """The conversation in its template; scored are the assistant's words and the token that ends its turn.

    Each turn is encoded by itself, as when the model answers. Raises RankOneError where the tokenizer has no template, where
    it refuses the turns, and where it writes earlier turns anew for each answer.
    """
    ids: list[int] = []
    scored: list[bool] = []
    done = ""

    def add(text: str, score: bool) -> None:
        encoded = _ids(tokenizer, text)
        ids.extend(encoded)
        scored.extend([score] * len(encoded))

    for at, turn in enumerate(chat.turns):
        if turn.role != ASSISTANT:
            continue
        question = rendered(tokenizer, chat.turns[:at], answering=True) if at else ""
        whole = rendered(tokenizer, chat.turns[: at + 1])
        if not (question.startswith(done) and whole.startswith(question)):
            raise RankOneError(
                "the chat template rewrites earlier turns for each answer, so their tokens cannot be told from the "
                "assistant's. Give conversations of one answer each."
            )
        add(question[len(done) :], False)
        # Templates put white space between turns; the model has ended its turn before it.
        done = whole.rstrip()
        add(done[len(question) :], True)
    return Encoded(ids, scored)


def rendered(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], answering: bool = False) -> str:
    """The turns in the tokenizer's chat template; with `answering` up to where the assistant's words start."""
    from jinja2 import TemplateError

    require_template(tokenizer)
    messages = [turn._asdict() for turn in turns]
    try:
        said = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answering)
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        roles = ", ".join(turn.role for turn in turns)
        raise RankOneError(
            f"the chat template refuses a conversation of {roles}: {error}. Leave out the turns it does not know."
        ) from error
    return str(said)


def require_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise RankOneError where a tokenizer has no chat template."""
    if not tokenizer.chat_template:
        raise RankOneError(NO_TEMPLATE)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] if text else []  # pyright: ignore[reportReturnType]
