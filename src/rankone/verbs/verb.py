"""A verb: something RankOne can be asked to do, by name, with a request and a reply that have schemas.

The command line is made from the verbs (cli/), and so is whatever else offers them: nothing is said of a verb twice. This
file, the requests and the replies import neither torch nor transformers, so that help and refusals are quick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from pydantic.fields import FieldInfo

from rankone.core.claims import claim
from rankone.core.errors import RankOneError
from rankone.core.fields import ModelName, Positional, Reads, Request, option
from rankone.core.foreign import one_error_type
from rankone.render.reply import Reply
from rankone.verbs.preflight import brought, check

if TYPE_CHECKING:
    from rankone.opening import Opening

Cost = Literal["instant", "seconds", "minutes"]
Opens = Literal["model", "decomposition", "parts", "text", "harvest", "labels", "clusters", "device", "dtype"]


RequestT = TypeVar("RequestT", bound=Request)
ReplyT = TypeVar("ReplyT", bound=Reply)


def reads_edit(field: FieldInfo) -> bool:
    """Whether a field of a request names a saved edit."""
    return any(isinstance(mark, Reads) and mark.kind == "edit" for mark in field.metadata)


def is_placed(field: FieldInfo) -> bool:
    """Whether an option is given by its place on the command line."""
    return any(isinstance(mark, Positional) for mark in field.metadata)


def ordered(request: type[Request]) -> dict[str, FieldInfo]:
    """The fields of a request: what is given by its place, then what must be given, then the rest."""
    fields = request.model_fields
    ranks = {name: (not is_placed(f), not f.is_required()) for name, f in fields.items()}
    return {name: fields[name] for name in sorted(fields, key=lambda name: ranks[name])}


@dataclass(frozen=True)
class Verb(Generic[RequestT, ReplyT]):
    """Name, request, reply and function of a verb; the first line of the function's docstring is its help.

    opens: what it works on, each an option of its own. first: which of them is given by its place. needs: which of them
    must be given, having no default. without: why it takes no device, or no dtype; said in its help. cost: how long it takes
    on the built-in model; what takes minutes is for a terminal. writes: fields of the request that name what it makes; these
    places are claimed until it is made. recipe: reads and checks the recipe that the request names, without PyTorch. unused:
    what it opens and a request makes no use of, each with why and the mend. What is there already, or not there to be read,
    is refused before anything is opened (preflight.py).
    """

    name: str
    request: type[RequestT]
    reply: type[ReplyT]
    run: Callable[[Opening, RequestT], ReplyT]
    opens: tuple[Opens, ...] = ()
    first: Opens | None = None
    needs: tuple[Opens, ...] = ()
    writes: tuple[str, ...] = field(default=())
    recipe: Callable[[RequestT], object] | None = None
    unused: Callable[[Opening, RequestT], Mapping[Opens, str]] | None = None
    without: Mapping[Literal["device", "dtype"], str] = field(
        default_factory=dict[Literal["device", "dtype"], str]
    )
    cost: Cost = "minutes"

    def options(self) -> dict[str, FieldInfo]:
        """The fields of its request: what is given by its place, then what must be given, then the rest."""
        return ordered(self.request)

    @property
    def names_model(self) -> bool:
        """Whether `--model` names a model to work on; not where one is given by its place, nor of a server's."""
        field = self.request.model_fields.get("model")
        if field is not None:
            return any(isinstance(mark, ModelName) for mark in field.metadata)
        return "model" in self.opens and self.first != "model"

    def lacking(self) -> Iterator[str]:
        """Why it does not take device or dtype, a sentence per reason."""
        for why in dict.fromkeys(self.without.values()):
            options = " or ".join(f"--{option}" for option, reason in self.without.items() if reason == why)
            yield f"No {options}: {why}."

    def require_used(self, opening: Opening, request: RequestT) -> None:
        """RankOneError for what was named to be opened for this request alone, and changes nothing in it.

        Of a command, not of a session, which names things once for many requests. A harvest that holds parts itself is used.
        """
        if self.unused is None:
            return
        for name, why in self.unused(opening, request).items():
            path = getattr(opening.options, name)
            holds = name == "harvest" and opening.held_parts is not None
            if path is not None and not holds:
                raise RankOneError(f"{option(name)} '{path}' changes nothing here: {why}")

    def ask(self, opening: Opening, request: RequestT) -> ReplyT:
        """Do it; RankOneError, with nothing opened, for what can be seen to be wrong without a model.

        What other libraries refuse on the way is a RankOneError too.
        """
        with one_error_type(self.name):
            request = brought(request)
            check(opening, request, self.name, self.opens, self.needs, self.writes, self.recipe)
            with ExitStack() as held:
                for place in self._places(request):
                    held.enter_context(claim(place))
                return self.run(opening, request)

    def _places(self, request: RequestT) -> Iterator[Path]:
        """What the request makes and nobody else may make meanwhile; one that `shares` its place (a shard) holds none."""
        if not getattr(request, "shares", False):
            places: Iterator[Path | None] = (getattr(request, name) for name in self.writes)
            yield from (place for place in places if place is not None)
