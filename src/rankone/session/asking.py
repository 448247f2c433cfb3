"""How a method of a session asks its verb."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from rankone.core.fields import Names, Request
from rankone.core.validation.in_python import worded_for_python
from rankone.edits.requests import FitRequest
from rankone.opening import Opening, OpenOptions
from rankone.render.reply import Reply
from rankone.runtime.scratch import scratch
from rankone.verbs.editing import members_of
from rankone.verbs.table import verb_named
from rankone.verbs.verb import Verb, reads_edit

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
        words = worded_for_python(verb.request.model_fields, OpenOptions.model_fields)
        with words, self._saved(verb, values) as saved:
            answer = verb.ask(self, verb.request.checked({**values, **saved}, name))
        assert isinstance(answer, reply)
        return answer

    @contextmanager
    def _saved(self, verb: Verb[Request, Reply], given: Mapping[str, object]) -> Generator[dict[str, object]]:
        """Edits in memory as what verbs read: a folder each, for the length of the block."""
        names = [name for name, field in verb.options().items() if reads_edit(field)]
        held = {name: given[name] for name in names if not isinstance(given.get(name), str | Path | None)}
        if not held:
            yield {}
            return
        from rankone.edits.lowrank import LowRankEdit

        with scratch("session") as folder:
            yield {
                name: (edit if edit.base else edit.bind(self.model)).save_pretrained(folder / name)
                for name, edit in held.items()
                if isinstance(edit, LowRankEdit)
            }

    def _fit(self, given: Mapping[str, object]) -> Fit:
        from rankone.experiments.tuning import fit

        with worded_for_python(FitRequest.model_fields, OpenOptions.model_fields):
            names = Fitted.checked({"parts": given["parts"]}, "fit").parts
            asked = {k: v for k, v in given.items() if k not in ("self", "parts")}
            request = FitRequest.checked(asked, "fit")
            request.require_used(len(names))
            fitted = fit(self.workspace, request, members_of(self, names), self.book)
            return fitted.bound(self.model)
