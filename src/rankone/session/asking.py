"""How a method of a session asks its verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from rankone.core.fields import Names, Request
from rankone.edits.requests import FitRequest
from rankone.opening import Opening
from rankone.render.reply import Reply
from rankone.verbs.editing import members_of
from rankone.verbs.table import verb_named

if TYPE_CHECKING:
    from rankone.edits.fitting.run import Fit

ReplyT = TypeVar("ReplyT", bound=Reply)


class Fitted(Request):
    """What a fit is given by its place."""

    parts: Names = Field(min_length=1, description="parts whose scales are fitted")


class Asking(Opening):
    """An opening that can be asked for a verb by name."""

    def _ask(self, reply: type[ReplyT], name: str, given: Mapping[str, object]) -> ReplyT:
        verb = verb_named(name)
        values = {k: v for k, v in given.items() if k != "self" and v is not None}
        answer = verb.ask(self, verb.request.checked(values, name))
        assert isinstance(answer, reply)
        return answer

    def _fit(self, given: Mapping[str, object]) -> Fit:
        from rankone.experiments.tuning import fit

        names = Fitted.checked({"parts": given["parts"]}, "fit").parts
        asked = {k: v for k, v in given.items() if k not in ("self", "parts")}
        request = FitRequest.checked(asked, "fit")
        request.require_used(len(names))
        fitted = fit(self.workspace, request, members_of(self, names), self.book)
        return fitted.bound(self.model)
