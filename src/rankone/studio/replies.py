"""From a request's body to what a route takes, and from what the worker said to a reply."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import JsonValue
from starlette.requests import Request
from starlette.responses import Response

from rankone.core.config import Config, Record
from rankone.core.errors import RankOneError
from rankone.studio.kept.lines import Conflict

_NO_OBJECT = 'the request\'s body is not a JSON object, as {"name": …}. Mend what was sent.'
BodyT = TypeVar("BodyT", bound=Config)


async def object_of(request: Request) -> dict[str, JsonValue]:
    """The body as a JSON object; RankOneError where it is none."""
    try:
        body = json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise RankOneError(_NO_OBJECT)
    return body


def _no_constant(name: str) -> None:
    raise ValueError(name)


async def body_of(request: Request, model: type[BodyT]) -> BodyT:
    """The body as what the route takes; RankOneError where it does not fit."""
    return model.checked(await object_of(request), "request")


def answered(event: str, data: JsonValue) -> Response:
    """What the worker answered; RankOneError where it failed."""
    if event == "failed":
        raise RankOneError(str(data))
    return _said(data)


def record_reply(record: Record) -> Response:
    """A record as the page reads it."""
    return Response(json.dumps(record.plain()), media_type="application/json")


async def refused(_: Request, error: Exception) -> Response:
    """What a route's RankOneError becomes: why not, in words."""
    return refusal(error, 409 if isinstance(error, Conflict) else 400)


def refusal(error: Exception, status: int) -> Response:
    """Why not, in words."""
    return _said({"error": str(error)}, status)


def _said(data: JsonValue, status: int = 200) -> Response:
    """JSON in ASCII: what was sent may hold half of a surrogate pair, which no UTF-8 can say."""
    return Response(json.dumps(data), status, media_type="application/json")
