"""Refusals in the words of a Python caller: `weight=` for `--weight`.

Messages are written as the command line has it; where a session hands one to Python, it is put into these words.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from rankone.core.errors import RankOneError
from rankone.core.fields import EachOf, option

Fields = Mapping[str, FieldInfo]

# A whole command, in backticks, is typed as it stands. Else an option with what follows it, which may be its value: in
# quotes, a placeholder (DIR, PART,PART,…), a number, an address, or a word.
_OPTION = re.compile(
    r"`(?!--)[^`]*`"
    r"|(?<![\w-])(?P<option>--[a-z][a-z-]*[a-z])(?![\w-])"
    r"(?: (?P<value>'[^']*'|[A-Z…]+(?:[,=/][A-Z…]+)*(?![\w'])|\d[\d.]*\b|[a-z][\w:/-]*))?"
)
# Of options whose type lists no values, those that messages name.
_VALUES = {"device": ("cpu",), "keep": ("all",)}


@contextmanager
def worded_for_python(asked: Fields, opened: Fields) -> Generator[None]:
    """A RankOneError of the block in Python's words. asked: of the method that was called; opened: of `rankone.open`."""
    try:
        yield
    except RankOneError as error:
        said, elsewhere = str(error), {k: field for k, field in opened.items() if k not in asked}
        worded = in_python(said, {**asked, **elsewhere})
        if names := dict.fromkeys(f"{name}=" for name in _named(said, elsewhere)):
            verb = "is" if len(names) == 1 else "are"
            worded = f"{worded.removesuffix('.')}. {' and '.join(names)} {verb} given to rankone.open."
        error.args = (worded,)
        raise


def in_python(said: str, fields: Fields) -> str:
    """Text in which these fields, where they stand as options of the command line, are arguments; other options stay."""
    names = {option(name): name for name in fields}

    def argument(typed: re.Match[str]) -> str:
        name = names.get(typed["option"])
        return typed[0] if name is None else _argument(name, fields[name], typed["value"])

    return _OPTION.sub(argument, said)


def _named(said: str, fields: Fields) -> Iterator[str]:
    """The fields that stand in a text as options of the command line, in its order."""
    names = {option(name): name for name in fields}
    yield from (names[typed["option"]] for typed in _OPTION.finditer(said) if typed["option"] in names)


def _argument(name: str, field: FieldInfo, following: str | None) -> str:
    """`nodes='named'` before a value that the field takes, else `nodes=` and the word that followed."""
    if field.annotation is bool:
        return f"{name}=True" + (f" {following}" if following else "")
    if following is None:
        return f"{name}="
    if following[0].islower() and not set(":/") & set(following) and following not in _values(name, field):
        return f"{name}= {following}"
    bare = following[0] == "'" or following[0].isdecimal() or (following.isupper() and following.isalpha())
    return f"{name}={following}" if bare else f"{name}='{following}'"


def _values(name: str, field: FieldInfo) -> list[object]:
    """Words that a field is known to take."""
    known = [known for mark in field.metadata if isinstance(mark, EachOf) for known in mark.known]
    return [field.default, *_VALUES.get(name, ()), *_listed(field.annotation), *known]


def _listed(annotation: Any) -> Iterator[object]:
    """The values that a type lists."""
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        yield from arguments
    else:
        yield from (value for argument in arguments for value in _listed(argument))
