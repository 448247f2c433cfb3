"""Verbs that the server offers: those that answer in seconds; of their requests all but what names a place on disk.

A verb that cannot do without such a place is not offered: a page names nothing on disk. Test text is not reached either, and
scales are those that the dials take: whoever turns them by what this server answers is tuning.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

from pydantic import JsonValue
from pydantic.fields import FieldInfo

from rankone.core.errors import RankOneError
from rankone.core.fields import Request
from rankone.render.reply import Reply
from rankone.studio.views.requests import PreviewRequest
from rankone.studio.views.server import VerbSchema
from rankone.verbs.table import VERBS
from rankone.verbs.verb import Verb

# The split that is measured on where none is asked for, and the one that is not reached.
SPLIT, APART = "validation", "test"


def offered() -> dict[str, Verb[Request, Reply]]:
    """By name."""
    return {name: verb for name, verb in VERBS.items() if not why_not(verb)}


def refused() -> dict[str, str]:
    """Every other verb with the reason."""
    return {name: why for name, verb in VERBS.items() if (why := why_not(verb))}


def why_not(verb: Verb[Request, Reply]) -> str:
    """Why a verb is not offered; '' for one that is."""
    if verb.cost == "minutes":
        return "takes minutes"
    needed = {name for name, field in verb.request.model_fields.items() if field.is_required()}
    return "works on a place on disk" if needed & _places(verb) else ""


def schema(verb: Verb[Request, Reply]) -> VerbSchema:
    """JSON schemas of the request, without its places and test text, and of the reply."""
    request = verb.request.model_json_schema()
    places = _places(verb)
    properties = {k: v for k, v in request.get("properties", {}).items() if k not in places}
    if "split" in properties:
        splits = [split for split in properties["split"]["enum"] if split != APART]
        properties["split"] = {**properties["split"], "enum": splits, "default": SPLIT}
    request["properties"] = properties
    said = (verb.run.__doc__ or "").strip().split("\n")[0]
    reply: dict[str, JsonValue] = verb.reply.model_json_schema(mode="serialization")
    return VerbSchema(name=verb.name, help=said, cost=verb.cost, request=request, reply=reply)


def request_of(verb: Verb[Request, Reply], given: Mapping[str, JsonValue]) -> Request:
    """The checked request; RankOneError for a verb not offered, a place on disk, test text, a scale that no dial takes."""
    if verb.name not in offered():
        raise RankOneError(f"'{verb.name}' {why_not(verb)}: run `rankone {verb.name}` in a terminal.")
    named = sorted(_places(verb) & set(given))
    if named:
        raise RankOneError(
            f"'{named[0]}' names a place on disk, which a page may not. Use the journal's export."
        )
    if _split(verb, given) == APART:
        raise RankOneError(
            "test text cannot be reached from the studio, since turning a scale until the figures look good is tuning: "
            f"take split '{SPLIT}', or run `rankone {verb.name}` in a terminal."
        )
    splits = {"split": SPLIT} if "split" in verb.request.model_fields else {}
    request = verb.request.checked({**splits, **given}, verb.name)
    if "scales" in verb.request.model_fields:
        PreviewRequest.checked({"scales": given.get("scales", request.model_dump()["scales"])}, verb.name)
    return request


def split_of(name: str, given: Mapping[str, JsonValue]) -> JsonValue:
    """The split of the text that a request is answered on; None for a verb that measures none."""
    verb = offered().get(name)
    return None if verb is None else _split(verb, given)


def _split(verb: Verb[Request, Reply], given: Mapping[str, JsonValue]) -> JsonValue:
    return given.get("split", SPLIT) if "split" in verb.request.model_fields else None


def _places(verb: Verb[Request, Reply]) -> set[str]:
    return {name for name, field in verb.request.model_fields.items() if _is_place(field)}


def _is_place(field: FieldInfo) -> bool:
    return any(kind is Path for kind in (field.annotation, *_inner(field.annotation)))


def _inner(annotation: object) -> list[object]:
    arguments = [a for a in get_args(annotation)]
    return [*arguments, *(one for a in arguments for one in _inner(a))]
