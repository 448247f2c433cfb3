"""The studio's routes; everything passes the gate (security.py), and what needs the model goes to the worker (pool.py)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import JsonValue
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.opening import OpenOptions
from rankone.render import colours
from rankone.studio.jobs import Exports
from rankone.studio.keeping import Keeping
from rankone.studio.kept import graphs
from rankone.studio.kept.corrections import Corrections
from rankone.studio.kept.journal import Journal
from rankone.studio.kept.looks import Looks
from rankone.studio.kept.runs import Runs
from rankone.studio.listed.known import Known
from rankone.studio.listed.requests import RowsRequest
from rankone.studio.listing import Listing
from rankone.studio.pool import Worker
from rankone.studio.replies import answered, body_of, object_of, record_reply, refusal, refused
from rankone.studio.security import Door, Gate
from rankone.studio.shelf import Shelf, Shelved
from rankone.studio.views import requests as asked
from rankone.studio.views.server import Limits, RunsView, VerbsView, WorkerState, WorkspaceView

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'"


@dataclass
class Studio:
    """What the routes work on: the worker, the journal, the shelf of artefacts, exports under way."""

    options: OpenOptions
    folder: Path
    worker: Worker = field(init=False)
    journal: Journal = field(init=False)
    shelf: Shelf = field(init=False)
    runs: Runs = field(init=False)
    listing: Listing = field(init=False)
    exports: Exports = field(init=False)
    corrections: Corrections = field(init=False)
    looks: Looks = field(init=False)

    def __post_init__(self) -> None:
        kept = self.folder / "studio"
        self.worker = Worker(self.options)
        self.journal, self.shelf, self.runs = Journal(kept), Shelf(self.folder), Runs(self.folder)
        self.listing = Listing(self.options, self.worker, kept)
        self.exports = Exports(self.worker, self.journal, kept / "exports")
        self.corrections, self.looks = Corrections.of(self.options.harvest, kept), Looks(kept)

    def keeping(self) -> Keeping:
        """Routes to what is kept."""
        known = Known(self.options)
        return Keeping(self.journal, self.corrections, self.exports, known, self.listing)


def make_app(studio: Studio, door: Door) -> ASGIApp:
    """The whole server as one ASGI application."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield  # the worker is started by the page, once it has its list: two cores are few
        await studio.worker.stop()

    routes, keeping = Routes(studio), studio.keeping()
    app = Starlette(
        routes=[*routes.pages(), *routes.reads(), *routes.works(), *keeping.routes()],
        exception_handlers={RankOneError: refused},
        lifespan=lifespan,
    )
    return Gate(app, door)


class Routes:
    """Handlers by theme."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._static = dict(_static_files()) | {"theme.css": theme().encode()}
        # All that the page will ask for, begun at once: a module is known only when the one that imports it is there.
        ahead = [f'<link rel="modulepreload" href="/static/{n}">' for n in self._static if n.endswith(".js")]
        self._static["index.html"] = self._static["index.html"].replace(
            b"</head>", "".join(ahead).encode() + b"</head>"
        )

    def pages(self) -> list[Route]:
        """The page itself and its files, read once."""
        return [
            Route("/", self._file("index.html")),
            *(Route(f"/static/{name}", self._file(name)) for name in self._static if name != "index.html"),
            Route("/pages/{id}", self._result_page),
            Route("/graphs/{id}", self._graph_page),
        ]

    def reads(self) -> list[Route]:
        """What can be read without the model."""
        return [
            Route("/api/workspace", self._workspace(self._studio.shelf.list)),
            Route("/api/checked", self._workspace(self._studio.shelf.check)),
            Route("/api/columns", self._columns),
            Route("/api/rows", self._rows, methods=["POST"]),
            Route("/api/graphs", self._graphs(graphs.listed)),
            Route("/api/graphs/checked", self._graphs(graphs.checked)),
            Route("/api/runs", self._runs),
            Route("/api/runs/{id}", self._metrics),
            Route("/api/verbs", self._verbs),
        ]

    def works(self) -> list[Route]:
        """What the worker answers."""
        return [
            Route("/api/warm", self._warm),
            Route("/api/graph", self._on_graph("graph", asked.GraphAsked), methods=["POST"]),
            Route("/api/intervene", self._on_graph("intervene", asked.InterveneAsked), methods=["POST"]),
            Route("/api/part", self._once("part", asked.PartRequest), methods=["POST"]),
            Route("/api/text", self._once("text", asked.TextRequest), methods=["POST"]),
            Route("/api/prompt", self._once("prompt", asked.PromptRequest), methods=["POST"]),
            Route("/api/importance", self._once("importance", asked.ImportanceRequest), methods=["POST"]),
            Route("/api/preview", self._stream("preview", asked.PreviewRequest), methods=["POST"]),
            Route("/api/response", self._stream("response", asked.ResponseRequest), methods=["POST"]),
            Route("/api/generate", self._stream("generate", asked.GenerateRequest), methods=["POST"]),
            Route("/api/verbs/{name}", self._verb, methods=["POST"]),
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
        return _framed(page)

    async def _graph_page(self, request: Request) -> Response:
        studio, given = self._studio, dict(request.query_params)
        try:
            nodes = {"nodes": int(given.pop("nodes", 120))}
            shown = asked.GraphAsked.checked({**given, **nodes, "id": request.path_params["id"]}, "graph")
            place = await asyncio.to_thread(graphs.place_of, studio.shelf, shown.id)
        except (RankOneError, ValueError):
            return PlainTextResponse("no such page", 404)
        body: dict[str, JsonValue] = {"place": str(place), "asked": shown.model_dump(mode="json")}
        event, data = await studio.worker.answer("graph page", body)
        if event == "failed" or not isinstance(data, dict):
            return PlainTextResponse(str(data), 400)
        return _framed(str(data["page"]).encode())

    def _graphs(self, read: Callable[[Shelf], graphs.GraphsView]) -> Callable[[Request], Awaitable[Response]]:
        async def listed(_: Request) -> Response:
            return record_reply(await asyncio.to_thread(read, self._studio.shelf))

        return listed

    def _workspace(self, read: Callable[[], list[Shelved]]) -> Callable[[Request], Awaitable[Response]]:
        """What is open and what lies here; read: the list, or the list whose files were read through."""

        async def workspace(_: Request) -> Response:
            studio = self._studio
            shelved = await asyncio.to_thread(read)
            state = WorkerState(alive=studio.worker.alive, restarts=max(studio.worker.restarts, 0))
            return record_reply(
                WorkspaceView(
                    version=version("rankone"),
                    options=studio.options,
                    artefacts=tuple(shelved),
                    looks=studio.looks.state(),
                    worker=state,
                    limits=Limits(),
                )
            )

        return workspace

    async def _columns(self, request: Request) -> Response:
        """The list of parts, gzipped once; unchanged, it is not sent again."""
        packed, tag = await self._studio.listing.packed()
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"etag": tag})
        headers = {"content-encoding": "gzip", "etag": tag, "cache-control": "no-cache"}
        return Response(packed, media_type="application/json", headers=headers)

    async def _rows(self, request: Request) -> Response:
        """A page of a list that is too long to be sent."""
        corrected = {part: line.label for part, line in self._studio.corrections.state().parts.items()}
        asked_for = await body_of(request, RowsRequest)
        return record_reply(await self._studio.listing.rows(asked_for, corrected))

    async def _runs(self, _: Request) -> Response:
        listed = await asyncio.to_thread(self._studio.runs.list)
        return record_reply(RunsView(runs=tuple(listed)))

    async def _metrics(self, request: Request) -> Response:
        try:
            metrics = await asyncio.to_thread(self._studio.runs.metrics, request.path_params["id"])
        except RankOneError as error:
            return refusal(error, 404)
        return record_reply(metrics)

    async def _verbs(self, _: Request) -> Response:
        from rankone.studio.offered import offered, refused, schema

        return record_reply(
            VerbsView(verbs=tuple(schema(verb) for verb in offered().values()), not_offered=refused())
        )

    async def _warm(self, _: Request) -> Response:
        return answered(*await self._studio.worker.answer("warm", {}))

    async def _verb(self, request: Request) -> Response:
        from rankone.studio.offered import split_of

        name, body = request.path_params["name"], await object_of(request)
        event, data = await self._studio.worker.answer("verb", {"verb": name, "request": body})
        if event == "done" and split_of(name, body) == "validation":
            self._studio.looks.count(name)
        return answered(event, data)

    def _once(self, kind: str, model: type[Config]) -> Callable[[Request], Awaitable[Response]]:
        async def once(request: Request) -> Response:
            body = await body_of(request, model)
            return answered(*await self._studio.worker.answer(kind, body.model_dump(mode="json")))

        return once

    def _on_graph(
        self, kind: str, model: type[asked.GraphAsked | asked.InterveneAsked]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def once(request: Request) -> Response:
            body = await body_of(request, model)
            place = await asyncio.to_thread(graphs.place_of, self._studio.shelf, body.id)
            given: JsonValue = body.model_dump(mode="json")
            return answered(*await self._studio.worker.answer(kind, {"place": str(place), "asked": given}))

        return once

    def _stream(self, kind: str, model: type[Config]) -> Callable[[Request], Awaitable[Response]]:
        """Server-sent events; of one page's jobs of a kind the last one counts."""

        async def stream(request: Request) -> Response:
            body = (await body_of(request, model)).model_dump(mode="json")

            async def lines() -> AsyncIterator[str]:
                yield _event("started", None)
                slot, looked = f"{kind} {body.get('client', '')}", kind not in ("preview", "response")
                async for event, data in self._studio.worker.events(kind, body, slot):
                    if not looked and event == "partial" and isinstance(data, dict) and _shows(data):
                        looked = True
                        yield _event("looks", self._studio.looks.count(kind))
                    yield _event(event, data)

            return StreamingResponse(lines(), media_type="text/event-stream")

        return stream


def theme() -> str:
    """The colours of all our pages as CSS variables, light and dark, with classes for lines and their names."""
    light = colours.LIGHT | colours.variables(colours.CARD)
    dark = colours.DARK | colours.variables(colours.DARK["card"])
    sides = [";".join(f"--{name}:{value}" for name, value in side.items()) for side in (light, dark)]
    kinds = "".join(
        f".line.c{i}{{stroke:var(--c{i})}}.curves text.t{i}{{fill:var(--t{i})}}" for i in range(8)
    )
    return f":root{{{sides[0]}}}@media (prefers-color-scheme: dark){{:root{{{sides[1]}}}}}{kinds}"


def _framed(page: bytes) -> Response:
    """A page of a result, for a frame of ours: it runs nothing and loads nothing."""
    headers = {"content-security-policy": _PAGE_POLICY, "x-frame-options": "SAMEORIGIN"}
    return Response(page, media_type="text/html", headers=headers)


def _event(name: str, data: JsonValue) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def _shows(data: Mapping[str, JsonValue]) -> bool:
    """Whether figures of validation text are in it: a domain's row, or a point of a response."""
    return "row" in data or "rises" in data


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
