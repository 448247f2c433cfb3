"""Habits of a model's answers, told by a pattern: a numbered list, an opening phrase, a refusal."""

from __future__ import annotations

import re
from functools import cached_property

from pydantic import Field

from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest

_NAME = r"^[a-z][a-z0-9-]*$"
# Devices of Windows: no folder can be called so there.
_DEVICE = r"con|prn|aux|nul|(?:com|lpt)\d"


class Habit(Config):
    """A regular expression (`^` starts a line) and how many matches make a habit of it.

    An answer with some matches but fewer than `least` is neither with the habit nor without it.
    """

    name: str = Field(pattern=_NAME)
    pattern: str
    least: int = Field(default=1, gt=0)

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, re.MULTILINE)

    def matches(self, text: str) -> int:
        """How often the pattern stands in an answer."""
        return sum(1 for _ in self._compiled.finditer(text))

    def of(self, text: str) -> bool | None:
        """Whether an answer has the habit; None where it has too few matches to say."""
        count = self.matches(text)
        return True if count >= self.least else None if count else False

    @property
    def meaning(self) -> str:
        """What makes a habit of it, in words."""
        return f"{self.least} or more matches of {self.pattern}"

    @property
    def without(self) -> str:
        """What answers without it are called."""
        return f"no-{self.name}"


HABITS = {
    "list": Habit(name="list", pattern=r"^\s*(?:\d+[.)]|[-*•])\s", least=2),
    "bold": Habit(name="bold", pattern=r"\*\*\S[^*\n]*\*\*", least=2),
}


def habit_of(words: str) -> Habit:
    """A known habit by its name, or `NAME=PATTERN`; RankOneError for another name, or a pattern that is none."""
    name, equals, pattern = words.partition("=")
    if not equals:
        if name in HABITS:
            return HABITS[name]
        raise RankOneError(
            f"unknown habit '{name}'; there are {', '.join(HABITS)}, or give one as NAME=REGULAR EXPRESSION."
            f"{nearest(name, list(HABITS))}"
        )
    if name in HABITS:
        raise RankOneError(
            f"'{name}' is a habit of its own: give yours another name, or leave out the pattern."
        )
    if not re.fullmatch(_NAME, name) or name.startswith("no-"):
        raise RankOneError(
            f"'{name}' cannot be the name of a habit: a folder is named after it. Use small letters, digits and hyphens."
        )
    if re.fullmatch(_DEVICE, name):
        raise RankOneError(
            f"'{name}' cannot be the name of a habit: Windows reserves it for a device. Take another."
        )
    try:
        compiled = re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise RankOneError(f"'{pattern}' is not a regular expression: {error}.") from None
    if compiled.match("") is not None:
        raise RankOneError(
            f"'{pattern}' fits an empty text, and so every answer. Give a pattern that fits some."
        )
    return Habit(name=name, pattern=pattern)
