"""Frozen pydantic models: configurations, read from YAML, and records of what was measured; an unknown key is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from rankone.core.errors import RankOneError, nearest
from rankone.core.files import read_text, write_json

# Of a value in a message; whole recipes may stand where a number should.
_SHOWN = 120
# Problems of one recipe in a message; another verb's recipe has dozens.
_MOST = 4
# Bytes, and brackets in brackets, of a recipe: far above any, and what a scanner of n² steps reads in a moment.
_LARGEST, _DEEPEST = 1 << 20, 50
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
# What a plain word must look like to be of a type, and the characters it may begin with.
_NARROWED = {
    "tag:yaml.org,2002:bool": (r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9]+)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$",
        "-+0123456789.",
    ),
}


class _OnceLoader(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error, not the last one's, and nesting has an end.

    Plain words and numbers as YAML 1.2 reads them: `no` is a language and not false, 010 is ten, 1:40 no number.
    """

    _depth = 0
    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {  # pyright: ignore[reportIncompatibleVariableOverride]
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NARROWED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node with all below it; RecursionError, long before Python's own, where it nests too deep."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RecursionError
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, its keys checked; merged ones (<<) may be overridden."""
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' stands there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, (_pattern, _firsts) in _NARROWED.items():
    _OnceLoader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
        _tag, re.compile(_pattern), list(_firsts)
    )


class Config(BaseModel):
    """Base of every configuration: immutable; unknown keys, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def from_yaml(cls, path: Path | str, **overrides: object) -> Self:
        """Read a recipe; keyword overrides that are not None replace its top-level keys."""
        values = cls.yaml_values(path)
        values.update({k: v for k, v in overrides.items() if v is not None})
        return cls.checked(values, str(path))

    @staticmethod
    def yaml_values(path: Path | str) -> dict[str, object]:
        """The `key: value` pairs of a recipe, not yet checked; RankOneError for a file that holds none."""
        path = Path(path)
        try:
            values: object = yaml.load(read_text(path, _LARGEST), _OnceLoader) or {}
        except FileNotFoundError:
            raise RankOneError(f"no recipe at '{path}'. Check the path.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RankOneError(
                f"cannot read the recipe '{path}' ({error}). It must be YAML in UTF-8."
            ) from error
        except yaml.YAMLError as error:
            said = " ".join(str(error).split())
            raise RankOneError(f"recipe '{path}' is no valid YAML: {said}. Mend the file.") from error
        except (ValueError, RecursionError, TypeError) as error:
            said = "it nests too deep" if isinstance(error, RecursionError) else str(error)
            raise RankOneError(f"recipe '{path}' cannot be read: {said}. Mend the file.") from error
        if not isinstance(values, dict):
            raise RankOneError(
                f"recipe '{path}' holds no `key: value` pairs at its top level. Check the file."
            )
        return cast("dict[str, object]", values)

    @classmethod
    def checked(cls, values: object, where: str) -> Self:
        """Validate `values`; errors name the field, the value and the place they came from."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            causes = list(_first_causes(_read_one_way(error.errors(), values)))
            said = [_said(e, list(cls.model_fields)) for e in causes[:_MOST]]
            more = len(causes) - _MOST
            rest = [f"and {more} more: is this the file that was meant?"] * (more > 0)
            *before, last = said + rest
            raise RankOneError(
                f"{where}: " + "; ".join([*(one.removesuffix(".") for one in before), last])
            ) from error


class Record(Config):
    """Base of what is measured and saved; unlike a recipe it may hold infinities: a run that failed is told as it is."""

    model_config = ConfigDict(allow_inf_nan=True, ser_json_inf_nan="constants")

    def plain(self) -> dict[str, JsonValue]:
        """Its values as JSON holds them."""
        return self.model_dump(mode="json")

    def written_to(self, path: Path | None) -> Self:
        """Itself, written as JSON to `path` too, where one is named; RankOneError where something stands there."""
        if path is not None:
            write_json(path, self.plain(), new=True, constants=True)
        return self


Place = tuple[int | str, ...]


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
    def misread(way: list[ErrorDetails]) -> bool:
        return any(error["loc"] == at and _wanted(error) for error in way)

    best = max(ways, key=lambda way: (not misread(way), min(len(error["loc"]) for error in way)))
    if len(ways) == 1 or not misread(best):
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


def _first_causes(errors: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without what follows from another: a list lacks items because one of them is wrong."""
    above = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [error for error in errors if error["loc"] not in above or not error["loc"]]


def plainer(said: str) -> str:
    """What a parser says of a value, without what it tried, in the words that recipes are described by."""
    said = re.sub(r", unable to parse [\w ]+", "", said).replace("Input should be", "must be")
    said = re.sub(r"a valid (tuple|list|set|frozenset)", "a list", said)
    said = said.replace("a valid dictionary", "`key: value` pairs")
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
    if error["type"] == "extra_forbidden":
        hint = nearest(str(place[0]), fields) if len(place) == 1 else ""
        return f"unknown key {name} (got {given}){'.' if hint else ''}{hint}"
    if error["type"] == "value_error" and not isinstance(error["input"], int | float | str):
        return f"{name}: {said}"  # which of the words is wrong is said
    return f"{name}: {said} (got {given})"


def _repr(value: object) -> str:
    """A value in a message, cut; some have no representation (whole numbers of thousands of digits, deep nests)."""
    try:
        given = repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__} too large to show"
    return given if len(given) <= _SHOWN else given[:_SHOWN] + "…"
