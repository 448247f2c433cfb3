"""What answering and the side-effect set are asked for, and what they answer; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rankone.answers.asking import prompts_to_ask
from rankone.answers.habits import HABITS, Habit, habit_of
from rankone.answers.prompts import KINDS, require_kinds, require_target
from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.core.fields import Names, Positional, Reads, Request, Template
from rankone.core.paths import typed
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.text.corpus import HeldOut


class AnswerRequest(Request):
    """A prompt to continue, or to answer.

    chat: in the chat template, as what a user says, after `system` if that is given; otherwise as the start of a text, after
    the workspace's opener.
    """

    prompt: Annotated[str, Positional()] = Field(description="text to continue")
    tokens: int = Field(default=40, gt=0, description="tokens to generate at most")
    chat: Annotated[bool, Template()] = Field(default=False, description="ask in the model's chat template")
    system: str | None = Field(default=None, description="system message, with --chat")

    @model_validator(mode="after")
    def _system_in_a_chat(self) -> Self:
        if self.system is not None and not self.chat:
            raise RankOneError(
                "a system message is part of a chat: ask with the chat template too (--chat), or leave it out."
            )
        return self


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
        default=None, description="the edited domain; prompts that ask for it are counted separately"
    )
    kinds: Annotated[Names, AfterValidator(require_kinds)] = Field(
        default=(), description=f"kinds of prompts, of {', '.join(KINDS)}; default all"
    )
    prompts: Annotated[Path | None, Reads("answers")] = Field(
        default=None,
        description="prompts of answers that `rankone collect` sorted, in place of the set; their habit is counted",
    )
    split: HeldOut | None = Field(
        default=None,
        description="of these prompts: validation to choose a scale by, test to report (the default)",
    )
    tokens: int = Field(default=48, gt=0, description="most tokens of an answer")
    chat: Annotated[bool | None, Template()] = Field(
        default=None, description="in the chat template; default where the tokenizer has one"
    )


class Share(Config):
    """How many of some answers degenerate: by the base model, with the edit, newly so; and how many stay the same.

    new_interval: 95% Wilson interval of the share that is newly degenerate. having_before, having_after: how many have the
    habit that is counted, None where none is.
    """

    group: str
    prompts: int
    before: int
    after: int
    new: int
    same: int
    new_interval: tuple[float, float]
    having_before: int | None = None
    having_after: int | None = None

    @property
    def new_share(self) -> float:
        """Newly degenerate answers of all; 0 without prompts."""
        return self.new / self.prompts if self.prompts else 0.0


def _known_habit(words: str) -> str:
    habit_of(words)
    return words


def _known_prompts(path: Path | None) -> Path | None:
    prompts_to_ask(path)
    return path


class CollectRequest(Request):
    """Which habit to look for in a model's answers, and to which prompts.

    prompts: a file of them, one a line; each is a topic of its own.
    """

    habit: Annotated[str, AfterValidator(_known_habit)] = Field(
        description=f"{', '.join(HABITS)}, or NAME=REGULAR EXPRESSION (^ starts a line)"
    )
    prompts: Annotated[Path | None, AfterValidator(_known_prompts)] = Field(
        default=None, description="file of prompts, one a line; default 320 that ship"
    )
    tokens: int = Field(default=72, gt=0, description="most tokens of an answer")
    chat: Annotated[bool | None, Template()] = Field(
        default=None, description="in the chat template; default where the tokenizer has one"
    )
    out: Path = Field(description="write the text here; must not exist")


class CollectedShare(Config):
    """How many answers to the prompts of a split have the habit, have it not, or are neither.

    interval: 95% Wilson interval of the share that has it.
    """

    split: str
    prompts: int
    having: int
    without: int
    neither: int
    interval: tuple[float, float]


class CollectReply(Reply):
    """Answers sorted by a habit, split by split; `out` is text with a domain for each kind."""

    out: Path
    habit: Habit
    shares: tuple[CollectedShare, ...]

    def tables(self) -> Sequence[Table]:
        """One row per split."""
        name = self.habit.name
        columns = [
            Column("split", key=True),
            Column("asked", priority=2),
            Column(f"with {name}", priority=4),
            Column("without", priority=4),
            Column("neither", priority=1),
            Column("share from", ".0%", priority=3),
            Column("to", ".0%", priority=3),
        ]
        rows = [(s.split, s.prompts, s.having, s.without, s.neither, *s.interval) for s in self.shares]
        caption = f"{name}: {self.habit.meaning}; neither: fewer, but some. "
        caption += "Share with it: 95% interval. A topic is in one split."
        return [Table.of(f"Answers by the habit '{name}'", columns, rows, caption)]

    def lines(self) -> Sequence[str]:
        """Where the text is and how it is used."""
        return (
            f"text: {self.out}",
            f"next: rankone find MODEL --of {self.habit.name} --against {self.habit.without} --text {typed(self.out)}",
        )
