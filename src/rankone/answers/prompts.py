"""The prompts of the side-effect set, and the phrases a model's own text in a language starts from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.text.domains import NAMES

Kind = Literal["instruction", "list", "code", "fact", "about", "name", "language", "switching"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Prompt(Config):
    """One prompt as a message of a chat and as the start of a plain text: of the set that ships, or one that was collected.

    language: that of a sound answer, None for code. about: the language whose country or culture an English prompt is about.
    uses: other languages that a sound answer may hold.
    """

    name: str
    kind: Kind | Literal["collected"]
    language: str | None
    about: str | None
    uses: tuple[str, ...]
    chat: str
    plain: str

    def asks_for(self, target: str | None) -> bool:
        """Whether it asks for the target itself: text in that language, or from and into it."""
        return target is not None and target in (self.language, *self.uses)


@cache
def prompts() -> tuple[Prompt, ...]:
    """All prompts that ship, in a fixed order."""
    data = files("rankone.answers").joinpath("data", "prompts.jsonl").read_text("utf8")
    return tuple(Prompt.checked(json.loads(line), "prompts.jsonl") for line in data.splitlines())


def require_kinds(kinds: Sequence[str]) -> Sequence[str]:
    """The kinds as they are; RankOneError for an unknown one."""
    for kind in kinds:
        if kind not in KINDS:
            raise RankOneError(
                f"no prompts of kind '{kind}'; choose among {', '.join(KINDS)}.{nearest(kind, list(KINDS))}"
            )
    return kinds


def require_target(target: str | None) -> str | None:
    """The tag of a language as it is; RankOneError for what is none, so that no prompt can ask for it."""
    if target is None or target in NAMES:
        return target
    called = [tag for tag, name in NAMES.items() if name.lower() == target.lower()]
    spoken = sorted({p.language for p in prompts() if p.language is not None})
    # Two letters are near to any longer word.
    near = "" if called or len(target) > 3 else nearest(target, spoken)
    hint = f" '{target}' is {called[0]}." if called else near
    hint = hint or " Leave the target out, then every prompt counts as a side effect."
    raise RankOneError(f"no prompt asks for '{target}'; they ask for {', '.join(spoken)}.{hint}")


def prompts_for(target: str | None, kinds: Sequence[str] = KINDS) -> list[Prompt]:
    """The prompts for an edit of a target language: English about *its* country, not about others'.

    Without a target, or for one that no prompt is about, those about all countries. RankOneError for an unknown kind.
    """
    require_kinds(kinds)
    chosen = [p for p in prompts() if p.kind in kinds]
    known = {p.about for p in prompts() if p.about is not None}
    return [p for p in chosen if p.about is None or target not in known or p.about == target]
