"""The studio's routes; everything passes the gate (security.py), and what needs the model goes to the worker (pool.py)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.opening import OpenOptions
from rankone.render import colours
from rankone.studio import requests as asked
from rankone.studio.jobs import Exports
from rankone.studio.journal import Conflict, Journal
from rankone.studio.listing import Listing
from rankone.studio.offered import offered, schema
from rankone.studio.pool import Worker
from rankone.studio.security import Door, Gate
from rankone.studio.shelf import Shelf

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'"
BodyT = TypeVar("BodyT", bound=Config)


@dataclass
class Studio:
    """What the routes work on: the worker, the journal, the shelf of artefacts, exports under way."""

    options: OpenOptions
    folder: Path
    worker: Worker = field(init=False)
    journal: Journal = field(init=False)
    shelf: Shelf = field(init=False)
    listing: Listing = field(init=False)
    exports: Exports = field(init=False)

    def __post_init__(self) -> None:
        kept = self.folder / "studio"
        self.worker = Worker(self.options)
        self.journal, self.shelf = Journal(kept), Shelf(self.folder)
        self.listing = Listing(self.options, self.worker, kept)
        self.exports = Exports(self.worker, self.journal, kept / "exports")


def make_app(studio: Studio, door: Door) -> ASGIApp:
    """The whole server as one ASGI application."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        warm = asyncio.create_task(studio.worker.answer("warm", {}))
        yield
        warm.cancel()
        await studio.worker.stop()

    routes = Routes(studio)
    app = Starlette(
        routes=[*routes.pages(), *routes.reads(), *routes.works(), *routes.edits()], lifespan=lifespan
    )
    return Gate(app, door)


class Routes:
    """Handlers by theme."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._static = dict(_static_files()) | {"theme.css": theme().encode()}
        self._looks = 0

    def pages(self) -> list[Route]:
        """The page itself and its files, read once."""
        return [
            Route("/", self._file("index.html")),
            *(Route(f"/static/{name}", self._file(name)) for name in self._static if name != "index.html"),
            Route("/pages/{id}", self._result_page),
        ]

    def reads(self) -> list[Route]:
        """What can be read without the model."""
        return [
            Route("/api/workspace", self._workspace),
            Route("/api/columns", self._columns),
            Route("/api/verbs", self._verbs),
            Route("/api/edits", self._edits),
        ]

    def works(self) -> list[Route]:
        """What the worker answers."""
        return [
            Route("/api/warm", self._warm),
            Route("/api/part", self._once("part", asked.PartRequest), methods=["POST"]),
            Route("/api/prompt", self._once("prompt", asked.PromptRequest), methods=["POST"]),
            Route("/api/preview", self._stream("preview", asked.PreviewRequest), methods=["POST"]),
            Route("/api/response", self._stream("response", asked.ResponseRequest), methods=["POST"]),
            Route("/api/generate", self._stream("generate", asked.GenerateRequest), methods=["POST"]),
            Route("/api/verbs/{name}", self._verb, methods=["POST"]),
        ]

    def edits(self) -> list[Route]:
        """The journal and what is made of it."""
        return [
            Route("/api/edits", self._keep, methods=["POST"]),
            Route("/api/undo", self._step("undo"), methods=["POST"]),
            Route("/api/redo", self._step("redo"), methods=["POST"]),
            Route("/api/exports", self._export, methods=["POST"]),
            Route("/api/exports", self._exported),
        ]

    def _file(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        content, kind = self._static[name], _TYPES[Path(name).suffix]

        async def send(_: Request) -> Response:
            return Response(content, media_type=kind)

        return send

    async def _result_page(self, request: Request) -> Response:
        try:
            page = await asyncio.to_thread(self._studio.shelf.page, request.path_params["id"])
        except RankOneError:
            return PlainTextResponse("no such page", 404)
        headers = {"content-security-policy": _PAGE_POLICY, "x-frame-options": "SAMEORIGIN"}
        return Response(page, media_type="text/html", headers=headers)

    async def _workspace(self, _: Request) -> Response:
        studio = self._studio
        shelved = await asyncio.to_thread(studio.shelf.list)
        return JSONResponse(
            {
                "version": version("rankone"),
                "options": studio.options.model_dump(mode="json", exclude_none=True),
                "artefacts": [entry.plain() for entry in shelved],
                "worker": {"alive": studio.worker.alive, "restarts": max(studio.worker.restarts, 0)},
                "limits": {"scale": asked.MAX_SCALE},
            }
        )

    async def _columns(self, request: Request) -> Response:
        """The list of parts, gzipped once; unchanged, it is not sent again."""
        try:
            packed, tag = await self._studio.listing.packed()
        except RankOneError as error:
            return _refusal(error)
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        headers = {"content-encoding": "gzip", "etag": tag, "cache-control": "no-cache"}
        return Response(packed, media_type="application/json", headers=headers)

    async def _verbs(self, _: Request) -> Response:
        return JSONResponse({"verbs": [schema(verb) for verb in offered().values()]})

    async def _warm(self, _: Request) -> Response:
        return _answered(*await self._studio.worker.answer("warm", {}))

    async def _verb(self, request: Request) -> Response:
        body = await _json(request)
        if not isinstance(body, dict):
            return _refusal(RankOneError("a request is an object."))
        given = {"verb": request.path_params["name"], "request": body}
        return _answered(*await self._studio.worker.answer("verb", given))

    def _once(self, kind: str, model: type[Config]) -> Callable[[Request], Awaitable[Response]]:
        async def once(request: Request) -> Response:
            try:
                body = await _body(request, model)
            except RankOneError as error:
                return _refusal(error)
            return _answered(*await self._studio.worker.answer(kind, body.model_dump(mode="json")))

        return once

    def _stream(self, kind: str, model: type[Config]) -> Callable[[Request], Awaitable[Response]]:
        """Server-sent events; of one page's jobs of a kind the last one counts."""

        async def stream(request: Request) -> Response:
            try:
                body = (await _body(request, model)).model_dump(mode="json")
            except RankOneError as error:
                return _refusal(error)

            # Whoever turns a dial by these figures tunes on validation text: how often is counted and shown.
            self._looks += kind in ("preview", "response")
            looks = json.dumps({"looks": self._looks})

            async def lines() -> AsyncIterator[str]:
                yield f"event: started\ndata: {looks}\n\n"
                slot = f"{kind} {body.get('client', '')}"
                async for event, data in self._studio.worker.events(kind, body, slot):
                    yield f"event: {event}\ndata: {json.dumps(data)}\n\n"

            return StreamingResponse(lines(), media_type="text/event-stream")

        return stream

    async def _edits(self, _: Request) -> Response:
        return JSONResponse(self._studio.journal.state())

    async def _keep(self, request: Request) -> Response:
        async def write() -> None:
            new = await _body(request, asked.NewEdit)
            self._studio.journal.add(new.scales, new.name, new.after)

        return await self._written(write)

    def _step(self, way: str) -> Callable[[Request], Awaitable[Response]]:
        async def step(request: Request) -> Response:
            async def write() -> None:
                after = (await _body(request, asked.Step)).after
                (self._studio.journal.undo if way == "undo" else self._studio.journal.redo)(after)

            return await self._written(write)

        return step

    async def _written(self, write: Callable[[], Awaitable[None]]) -> Response:
        """The journal after a line was added, or why none was."""
        try:
            await write()
        except RankOneError as error:
            return _refusal(error, 409 if isinstance(error, Conflict) else 400)
        return JSONResponse(self._studio.journal.state())

    async def _export(self, request: Request) -> Response:
        try:
            wanted = await _body(request, asked.ExportRequest)
            return JSONResponse({"job": self._studio.exports.start(wanted)})
        except RankOneError as error:
            return _refusal(error)

    async def _exported(self, _: Request) -> Response:
        return JSONResponse({"jobs": self._studio.exports.list()})


def theme() -> str:
    """The colours of all our pages as CSS variables, light and dark, with classes for lines and their names."""
    light = colours.LIGHT | colours.variables(colours.CARD)
    dark = colours.DARK | colours.variables(colours.DARK["card"])
    sides = [";".join(f"--{name}:{value}" for name, value in side.items()) for side in (light, dark)]
    kinds = "".join(
        f".line.c{i}{{stroke:var(--c{i})}}.curves text.t{i}{{fill:var(--t{i})}}" for i in range(8)
    )
    return f":root{{{sides[0]}}}@media (prefers-color-scheme: dark){{:root{{{sides[1]}}}}}{kinds}"


def _static_files() -> list[tuple[str, bytes]]:
    """The files of `static/` by their name in an address."""
    root = files("rankone.studio") / "static"
    return [
        ("/".join(place), content) for place, content in _walk(root, ()) if Path(place[-1]).suffix in _TYPES
    ]


def _walk(folder: Traversable, place: tuple[str, ...]) -> list[tuple[tuple[str, ...], bytes]]:
    contents = []
    for entry in folder.iterdir():
        here = (*place, entry.name)
        contents += _walk(entry, here) if entry.is_dir() else [(here, entry.read_bytes())]
    return contents


async def _json(request: Request) -> JsonValue:
    try:
        return json.loads(await request.body(), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> None:
    raise ValueError(name)


async def _body(request: Request, model: type[BodyT]) -> BodyT:
    return model.checked(await _json(request), "request")


def _answered(event: str, data: JsonValue) -> Response:
    if event == "failed":
        return _refusal(RankOneError(str(data)))
    return JSONResponse(data)


def _refusal(error: RankOneError, status: int = 400) -> Response:
    return JSONResponse({"error": str(error)}, status)
