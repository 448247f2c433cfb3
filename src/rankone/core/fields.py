"""What a verb is asked: the base of requests, fields as given in Python or on the command line, marks of what a value is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self, TypeVar, cast

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, field_validator, model_validator
from pydantic_core import CoreSchema, core_schema

from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest

C = TypeVar("C", bound=Config)


class Request(Config):
    """What a verb is asked, beside what it is asked of (the opened model, parts, text).

    Its fields are the verb's options, each declared once, in the room that does the work; a field that a verb adds to what
    its room needs to know (where to write a page) stands in a subclass.
    """

    @field_validator("*")
    @classmethod
    def _at_home(cls, value: object) -> object:
        """`~` in a path as shells read it: in `--out=~/x` they do not."""
        return value.expanduser() if isinstance(value, Path) else value

    @field_validator("*")
    @classmethod
    def _countable(cls, value: object) -> object:
        """No whole number past what files and tensors count in."""
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise ValueError("is past 2^63: no count or seed is so large")
        return value

    @model_validator(mode="after")
    def _with_what_it_needs(self) -> Self:
        """RankOneError for an option that would silently do nothing, as another that it needs is not given."""
        for name, field in type(self).model_fields.items():
            for mark in field.metadata:
                if isinstance(mark, OnlyWith) and self.changed(name) and not self.changed(mark.other):
                    raise RankOneError(
                        f"{option(name)} changes nothing without {option(mark.other)}: give both, or leave it out."
                    )
        return self

    def as_config(self, kind: type[C], where: str, **settled: object) -> C:
        """The fields that it shares with a configuration, as one; `settled` are those that the model and text decide."""
        return kind.checked({**self.model_dump(include=set(kind.model_fields)), **settled}, where)

    def changed(self, *names: str) -> list[str]:
        """Of these fields those that are not as they are by default, as options."""
        fields = type(self).model_fields
        return [option(name) for name in names if getattr(self, name) != fields[name].default]


def option(field: str) -> str:
    """A field as the command line calls it: `--per-site`."""
    return "--" + field.rstrip("_").replace("_", "-")


def _listed(given: object) -> object:
    """The parts of `a,b`; a list of names as it is. ValueError for one that is given twice."""
    words = given.split(",") if isinstance(given, str) else given
    if not isinstance(words, list | tuple):
        return given
    words = cast("Sequence[object]", words)
    names = tuple(w.strip() if isinstance(w, str) else w for w in words)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"'{twice}' is given twice: leave one out")
    return names


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""Names in Python as a list or one string, on the command line with commas between them."""

Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""What draws start from: small enough that every generator takes it, and what is made from it."""


@dataclass(frozen=True)
class EachOf:
    """Marks names that must be among the known ones; RankOneError that offers the nearest. what: one of them is."""

    what: str
    known: Sequence[str]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in self.known:
                near = nearest(name, list(self.known))
                raise RankOneError(f"unknown {self.what} '{name}'; there are {', '.join(self.known)}.{near}")
        return names


@dataclass(frozen=True)
class OnlyWith:
    """Marks a field of a request that changes nothing unless the `other` is given too."""

    other: str


@dataclass(frozen=True)
class Positional:
    """Marks a field of a request that is given by its place on the command line, not by an option."""


@dataclass(frozen=True)
class Reads:
    """Marks a field of a request that names an artefact of this kind."""

    kind: str


@dataclass(frozen=True)
class Domains:
    """Marks a field of a request that names one domain or several of the opened text."""


@dataclass(frozen=True)
class DecompositionName:
    """Marks a field of a request that names a decomposition, beside the one that is opened."""


@dataclass(frozen=True)
class Folder:
    """Marks a field of a request that names a folder, or several, that are there: `what`, known by what it `holds`, a name
    or a pattern.

    kind: of artefact that it may be on the Hub; an "adapter" may be an edit too, or what PEFT sent there.
    """

    what: str
    holds: str = ""
    kind: str | None = None


@dataclass(frozen=True)
class PartNames:
    """Marks a field of a request that names parts, or groups of them where a clustering is open.

    patterns: a name may stand for all parts that it fits (`neuron/SITE:*`).
    """

    patterns: bool = False


@dataclass(frozen=True)
class SitePatterns:
    """Marks a field of a request that names sites of the opened model by fnmatch patterns of module paths."""


@dataclass(frozen=True)
class Layer:
    """Marks a field of a request that numbers a block of the opened model, from 0."""


@dataclass(frozen=True)
class Template:
    """Marks a field of a request that, where it is set, needs the chat template of the opened model."""


@dataclass(frozen=True)
class ModelName:
    """Marks a field of a request that names a model, beside the one that is opened; `also` are names of other kinds."""

    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class TextName:
    """Marks a field of a request that names a text, beside the one that is opened."""


@dataclass(frozen=True)
class LabelWords:
    """Marks a field of a request that holds words of the labels that are opened, and says nothing without these."""


@dataclass(frozen=True)
class Counted:
    """Marks a field of a request that names a part as the opened harvest counts them."""


@dataclass(frozen=True)
class Published:
    """Marks a field of a request that names a published run: a folder, a W&B run or a Hub repository."""


@dataclass(frozen=True)
class Trackers:
    """Marks a field of a request that names trackers of a run."""


def _scales(given: object) -> object:
    """{'a': -8.0} from the words `a=-8`, or from `a=-8,b=2`; a mapping as it is."""
    given = given.split(",") if isinstance(given, str) else given
    if not isinstance(given, list | tuple):
        return given
    # A minus sign as tables print it is a minus.
    words = [str(word).strip().replace("\u2212", "-") for word in cast("Sequence[object]", given)]
    pairs = [word.rpartition("=") for word in words]
    wrong = next((word for word, pair in zip(words, pairs, strict=True) if not pair[0]), None)
    if wrong is not None:
        raise ValueError(f"'{wrong}' sets no scale: write PART=ALPHA, as h.3.mlp.down_proj:270=-16")
    for word, (name, _, alpha) in zip(words, pairs, strict=True):
        _require_number(word, alpha)
        if name.endswith("="):
            raise ValueError(f"'{word}' has one = too many: write PART=ALPHA, as h.3.mlp.down_proj:270=-16")
    names = [name for name, _, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"'{twice}' is given twice: one scale each")
    return {name: alpha for name, _, alpha in pairs}


def _require_number(word: str, alpha: str) -> None:
    try:
        float(alpha)
    except ValueError:
        said = f"'{alpha}' is not a number" if alpha else "no number follows the ="
        raise ValueError(f"'{word}': {said}. Write PART=ALPHA, as h.3.mlp.down_proj:270=-16") from None


ScalesByName = Annotated[dict[str, float], BeforeValidator(_scales)]
"""Part → α; on the command line words of the form PART=ALPHA, which Python may give too, as a list or one string."""


OnlyParts = Annotated[
    Names,
    PartNames(patterns=True),
    Field(
        description="parts of one origin in place of the decomposition's, such as neuron/SITE:5 or neuron/SITE:*; each "
        "fires with the size of its activation"
    ),
]
"""Parts to work on in place of the decomposition's, by name or by patterns with `*`."""


def apart(of: str | Sequence[str], against: Sequence[str]) -> None:
    """ValueError for a domain that stands on both sides."""
    both = [domain for domain in ((of,) if isinstance(of, str) else of) if domain in against]
    if both:
        raise ValueError(
            f"'{both[0]}' is on both sides: the target and what it is held against must be apart"
        )
