"""How a method of a session asks its verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from rankone.opening import Opening
from rankone.render.reply import Reply
from rankone.verbs.table import verb_named

ReplyT = TypeVar("ReplyT", bound=Reply)


class Asking(Opening):
    """An opening that can be asked for a verb by name."""

    def _ask(self, reply: type[ReplyT], name: str, given: Mapping[str, object]) -> ReplyT:
        verb = verb_named(name)
        values = {k: v for k, v in given.items() if k != "self" and v is not None}
        answer = verb.ask(self, verb.request.checked(values, name))
        assert isinstance(answer, reply)
        return answer
