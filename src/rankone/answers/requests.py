"""What answering and the side-effect set are asked for, and what they answer; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from rankone.answers.prompts import KINDS, require_kinds, require_target
from rankone.core.config import Config
from rankone.core.fields import Names, Positional, Request, Template
from rankone.render.reply import Reply


class AnswerRequest(Request):
    """A prompt to continue, or to answer.

    chat: in the chat template, as what a user says, after `system` if that is given; otherwise as the start of a text, after
    the workspace's opener.
    """

    prompt: Annotated[str, Positional()] = Field(description="text to continue")
    tokens: int = Field(default=40, gt=0, description="tokens to generate at most")
    chat: Annotated[bool, Template()] = Field(default=False, description="ask in the model's chat template")
    system: str | None = Field(default=None, description="system message, with --chat")


class Answer(Reply):
    """A greedy continuation of a prompt, without it.

    tokens: how many were generated, the one that ends it included. finish: `end` where the model ended it, `length` where
    the limit did. note: what a person should know of it, or ''.
    """

    prompt: str
    chat: bool
    text: str
    tokens: int
    finish: Literal["end", "length"]
    note: str = ""

    def lines(self) -> Sequence[str]:
        """The text as one, or the answer of a chat; then what should be known of it."""
        said = self.text if self.chat else self.prompt + self.text
        return [*said.split("\n"), *([self.note] if self.note else [])]


class SideEffectRequest(Request):
    """Which prompts, and how they are asked.

    target: the domain that is edited: prompts in it, and from or into it, are told apart from side effects, and English is
    about its country. chat: in the chat template; None where the tokenizer has one.
    """

    target: Annotated[str | None, AfterValidator(require_target)] = Field(
        default=None, description="the domain that is edited: what asks for it is told apart"
    )
    kinds: Annotated[Names, AfterValidator(require_kinds)] = Field(
        default=(), description=f"kinds of prompts, of {', '.join(KINDS)}; default all"
    )
    tokens: int = Field(default=48, gt=0, description="tokens of an answer at most")
    chat: bool | None = Field(
        default=None, description="in the chat template; default where the tokenizer has one"
    )


class Share(Config):
    """How many of some answers degenerate: by the base model, with the edit, newly so; and how many stay the same.

    new_interval: 95% Wilson interval of the share that is newly degenerate.
    """

    group: str
    prompts: int
    before: int
    after: int
    new: int
    same: int
    new_interval: tuple[float, float]

    @property
    def new_share(self) -> float:
        """Newly degenerate answers of all; 0 without prompts."""
        return self.new / self.prompts if self.prompts else 0.0
