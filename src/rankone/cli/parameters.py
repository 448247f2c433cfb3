"""From a field of a request, or of what is opened, to an argument or option of a command."""

from __future__ import annotations

import inspect
import types
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rankone.core.fields import option


def parameter_of(name: str, field: FieldInfo, placed: bool, needed: bool = False) -> inspect.Parameter:
    """A field of a request or of what is opened, as typer reads it. placed: by its place, not by an option's name."""
    kind, listed = _plain(field.annotation)
    required = needed or field.is_required()
    default = None if field.default is PydanticUndefined or listed else field.default
    help_ = _help(field, listed)
    if placed:
        mark: Any = typer.Argument(help=help_)
    elif kind is bool:
        mark = typer.Option(option(name), help=help_)
    else:
        mark = typer.Option(option(name), help=help_, metavar=_metavar(field.annotation))
    annotation = list[str] if listed else kind
    if required:
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[annotation, mark])
    if kind is not bool:
        annotation = annotation | None
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, mark]
    )


def _help(field: FieldInfo, listed: bool) -> str:
    said = field.description or ""
    if not listed:
        return said
    shown = (
        ",".join(map(str, field.default)) if field.default and field.default is not PydanticUndefined else ""
    )
    return said + (f" [default: {shown}]" if shown else "")


def _plain(annotation: Any) -> tuple[Any, bool]:
    """The type a word on the command line is read as, and whether it is a comma-separated list of them."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _plain(next(a for a in arguments if a is not type(None)))
    if origin is Annotated:
        return _plain(arguments[0])
    if origin in (tuple, list, dict):
        return str, True
    if annotation in (int, float, bool, Path):
        return annotation, False
    return str, False


def _metavar(annotation: Any) -> str | None:
    """`a|b|c` for a choice, `A,B,…` for a list."""
    if _plain(annotation)[1]:
        return "A,B,…"
    arguments = [a for a in get_args(annotation) if a is not type(None)]
    if get_origin(annotation) in (Union, types.UnionType) and len(arguments) == 1:
        return _metavar(arguments[0])
    if arguments and all(isinstance(a, str) for a in arguments):
        return "|".join(arguments)
    return None
