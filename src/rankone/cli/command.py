"""From a verb to a command: its options from the request's fields, its output from the reply."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from rankone.cli.output import say, say_json
from rankone.cli.parameters import parameter_of
from rankone.core.errors import RankOneError
from rankone.core.fields import Request, option
from rankone.opening import Opening, OpenOptions
from rankone.render.reply import Reply
from rankone.runtime.progress import report
from rankone.verbs.verb import Verb, is_placed

JSON = Annotated[bool, typer.Option("--json", help="print the reply as JSON, by its schema")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="no progress on stderr")]


def command_of(verb: Verb[Request, Reply]) -> Callable[..., None]:
    """A function that typer can read: parameters with types, defaults and help, and a body that runs the verb."""
    opened = set(verb.opens)

    def body(**given: Any) -> None:
        as_json, silent = given.pop("as_json"), given.pop("silent")
        named = {k: v for k, v in given.items() if k in opened and v is not None}
        asked = {k: _value(k, v) for k, v in given.items() if k not in opened}
        request = verb.request.checked({k: v for k, v in asked.items() if v is not None}, verb.name)
        options = OpenOptions.checked(named, verb.name)
        report(quiet=silent)
        opening = Opening(options)
        verb.require_used(opening, request)
        reply = verb.ask(opening, request)
        say_json(reply) if as_json else say(reply)
        if reply.exit_status:
            raise typer.Exit(reply.exit_status)

    parameters = sorted(_parameters(verb), key=lambda p: _rank(verb, p))
    body.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    body.__annotations__ = {p.name: p.annotation for p in parameters}
    body.__name__ = verb.name.replace("-", "_")
    body.__doc__ = inspect.getdoc(verb.run)
    return body


def _rank(verb: Verb[Request, Reply], parameter: inspect.Parameter) -> int:
    """What a verb works on, where it must be named, comes before what is asked of it; then what may be left out."""
    needed = parameter.default is inspect.Parameter.empty
    return (0 if parameter.name == verb.first else 1) if needed else 2


def _parameters(verb: Verb[Request, Reply]) -> Iterator[inspect.Parameter]:
    for name, field in verb.options().items():
        yield parameter_of(name, field, is_placed(field))
    for name in verb.opens:
        field = OpenOptions.model_fields[name]
        if (
            name in verb.needs and field.default is None
        ):  # missing, it is asked for by the verb, which says where to get it
            field = field.merge_field_infos(field, description=f"{field.description} [required]")
            yield parameter_of(name, field, name == verb.first)
        else:
            yield parameter_of(name, field, name == verb.first, name in verb.needs)
    yield inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JSON)
    yield inspect.Parameter("silent", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=QUIET)


def _value(name: str, given: Any) -> Any:
    """What the request is given: of a list its parts; None where nothing was said."""
    if not isinstance(given, list):
        return given
    words = [w.strip() for word in given for w in word.split(",")]
    if given and not any(words):
        raise RankOneError(
            f"{option(name).removeprefix('--')} is given and empty: name one, or leave it out."
        )
    return tuple(w for w in words if w) or None
