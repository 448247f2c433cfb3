"""What pydantic says of values that it refuses, in one line that names the field, the value and what should stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from rankone.core.errors import RankOneError, nearest

Place = tuple[int | str, ...]

# Of a value in a message; whole recipes may stand where a number should.
_SHOWN = 120
# Problems of one recipe in a message; another verb's recipe has dozens.
_MOST = 4
# What values are called that are of another kind than they should be, by what pydantic calls that.
_KINDS = {
    **dict.fromkeys(("dict", "model", "mapping"), "`key: value` pairs"),
    **dict.fromkeys(("tuple", "list", "set", "frozen_set"), "a list"),
    **{"bool": "true or false", "int": "a whole number", "float": "a number", "string": "text"},
}
# Pydantic's own names of the ways that a value may be read: of a type, or of a model.
_WAY = re.compile(
    r"[\w-]+\[.*\]$|(?:constrained|function|lax-or-strict|json-or-python)-|(?:int|str|float|bool|none)$|[A-Z]\w+$"
)


def refusal(where: str, causes: Sequence[ErrorDetails], fields: list[str]) -> RankOneError:
    """The error that names every problem, the first few of many, and the place that the values came from."""
    said = [_said(cause, fields) for cause in causes[:_MOST]]
    more = len(causes) - _MOST
    rest = [f"and {more} more: is this the file that was meant?"] * (more > 0)
    *before, last = said + rest
    return RankOneError(f"{where}: " + "; ".join([*(one.removesuffix(".") for one in before), last]))


def _read_one_way(errors: list[ErrorDetails], values: object) -> list[ErrorDetails]:
    """Of a value that may be read in several ways (a list, or pairs) the problems of the way that goes furthest.

    pydantic lists those of every way, each under a name of its own for it, which no recipe holds.
    """
    kept: list[ErrorDetails] = []
    ways: dict[Place, dict[str, list[ErrorDetails]]] = {}
    for error in errors:
        place, way = _placed(error, values)
        placed: ErrorDetails = {**error, "loc": place}
        if way is None:
            kept.append(placed)
        else:
            at, name = way
            ways.setdefault(at, {}).setdefault(name, []).append(placed)
    return kept + [
        error for at, by_name in ways.items() for error in _nearest_way(at, list(by_name.values()))
    ]


def _nearest_way(at: Place, ways: list[list[ErrorDetails]]) -> list[ErrorDetails]:
    def of_another_kind(way: list[ErrorDetails]) -> bool:
        return any(error["loc"] == at and _wanted(error) for error in way)

    best = max(ways, key=lambda way: (not of_another_kind(way), min(len(error["loc"]) for error in way)))
    if len(ways) == 1 or not of_another_kind(best):
        return best
    said = ", or ".join(dict.fromkeys(_wanted(error) for way in ways for error in way if error["loc"] == at))
    return [{"type": "union", "loc": at, "msg": f"must be {said}", "input": best[0]["input"]}]


def _wanted(error: ErrorDetails) -> str:
    """What should stand there, of a value that is another kind of thing; else empty."""
    if error["type"] == "literal_error":
        return str(error.get("ctx", {}).get("expected"))
    kind, _, how = error["type"].rpartition("_")
    return _KINDS.get(kind, "") if how in ("type", "parsing") else ""


def _placed(error: ErrorDetails, values: object) -> tuple[Place, tuple[Place, str] | None]:
    """Where in the values a problem stands, and of a value that may be read in several ways its place and which it is."""
    place: list[int | str] = []
    way: tuple[Place, str] | None = None
    for number, step in enumerate(error["loc"]):
        inside = list(_inside(values, step))
        last = number + 1 == len(error["loc"])
        # Pairs that were given as a list of words: `PART=ALPHA`.
        paired = type(values) in (list, tuple) and isinstance(step, str) and not _WAY.match(step)
        if inside or step == "[key]" or number == 0 or paired or (last and error["type"] == "missing"):
            place.append(step)
            values = inside[0] if inside else values
        elif way is None:
            way = tuple(place), str(step)
    return tuple(place), way


def _inside(values: object, step: int | str) -> Iterator[object]:
    """What stands at one step, if anything does."""
    if isinstance(values, Mapping):
        held = cast("Mapping[object, object]", values)
        spelled = [step, str(step), *([int(step)] if str(step).isdecimal() else [])]  # A key may be a number.
        yield from (held[key] for key in spelled if key in held)
    elif isinstance(values, BaseModel):
        yield from (value for key, value in values if key == step)
    elif isinstance(values, Sequence) and not isinstance(values, str) and isinstance(step, int):
        yield from cast("Sequence[object]", values)[step : step + 1]


def first_causes(errors: list[ErrorDetails], values: object) -> list[ErrorDetails]:
    """Problems, of values read one way, without what follows from another: a list lacks items as one of them is wrong."""
    errors = _read_one_way(errors, values)
    above = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [error for error in errors if error["loc"] not in above or not error["loc"]]


def plainer(said: str) -> str:
    """What a parser says of a value, without what it tried, in the words that recipes are described by."""
    said = re.sub(r", unable to parse [\w ]+", "", said).replace("Input should be", "must be")
    said = re.sub(r"a valid (tuple|list|set|frozenset)", "a list", said)
    said = re.sub(r"a valid dictionary( or instance of \w+)?", "`key: value` pairs", said)
    return re.sub(
        r"^\w+ should have (at \w+ \d+ (?:item|character)s?)( after validation, not .*)?$",
        r"must have \1",
        said,
    )


def _said(error: ErrorDetails, fields: list[str]) -> str:
    """One problem: the field and its value; what is wrong between fields names them itself."""
    said, place = error["msg"].removeprefix("Value error, "), error["loc"]
    said = plainer(said)
    if not place:
        return said
    name = ".".join(str(p) for p in place if p != "[key]").rstrip("_")
    if error["type"] == "literal_error":
        return f"unknown {name} {_repr(error['input'])}; choose {error.get('ctx', {}).get('expected')}"
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "union_tag_invalid":
        context = error.get("ctx", {})
        return f"unknown {name}.kind '{context['tag']}'; choose {context['expected_tags']}"
    given = _repr(error["input"])
    if error["type"] == "path_type":
        saved = hasattr(error["input"], "save_pretrained")
        said = "must be a path" + (": save it first (save_pretrained), and name its folder" if saved else "")
    if error["type"] == "extra_forbidden":
        hint = nearest(str(place[0]), fields) if len(place) == 1 else ""
        return f"unknown key {name} (got {given}){'.' if hint else ''}{hint}"
    if error["type"] == "value_error" and not isinstance(error["input"], int | float | str):
        return f"{name}: {said}"  # which of the words is wrong is said
    return f"{name}: {said} (got {given})"


def _repr(value: object) -> str:
    """A value in a message, cut; some have no representation (whole numbers of thousands of digits, deep nests)."""
    try:
        given = " ".join(repr(value).split())  # a model's goes over many lines
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"
    return given if len(given) <= _SHOWN else given[:_SHOWN] + "…"
