"""Routes to what is kept in the workspace: the journal of edits with its exports, labels corrected by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rankone.core.errors import RankOneError
from rankone.studio.jobs import Exports
from rankone.studio.kept.corrections import Corrections
from rankone.studio.kept.journal import Journal
from rankone.studio.listed.known import Known
from rankone.studio.listing import Listing
from rankone.studio.replies import body_of, record_reply
from rankone.studio.views import requests as asked
from rankone.studio.views.server import ExportsView, NamesView, Started


class Keeping:
    """The handlers; every one that writes answers with what is kept then."""

    def __init__(
        self, journal: Journal, corrections: Corrections, exports: Exports, known: Known, listing: Listing
    ) -> None:
        self._journal, self._corrections, self._exports = journal, corrections, exports
        self._known, self._listing = known, listing

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/api/edits", self._edits),
            Route("/api/edits", self._keep, methods=["POST"]),
            Route("/api/undo", self._step("undo"), methods=["POST"]),
            Route("/api/redo", self._step("redo"), methods=["POST"]),
            Route("/api/labels", self._labels),
            Route("/api/labels", self._correct, methods=["POST"]),
            Route("/api/named", self._named, methods=["POST"]),
            Route("/api/exports", self._export, methods=["POST"]),
            Route("/api/exports", self._exported),
        ]

    async def _edits(self, _: Request) -> Response:
        return record_reply(self._journal.state())

    async def _keep(self, request: Request) -> Response:
        new = await body_of(request, asked.NewEdit)
        if all(alpha == 1 for alpha in new.scales.values()):
            raise RankOneError("every dial is at 1: there is nothing to keep. Turn one first.")
        await asyncio.to_thread(self._known.require, list(new.scales))
        await asyncio.to_thread(self._journal.add, new.scales, new.name, new.after)
        return record_reply(self._journal.state())

    def _step(self, way: str) -> Callable[[Request], Awaitable[Response]]:
        async def step(request: Request) -> Response:
            after = (await body_of(request, asked.Step)).after
            await asyncio.to_thread(self._journal.undo if way == "undo" else self._journal.redo, after)
            return record_reply(self._journal.state())

        return step

    async def _labels(self, _: Request) -> Response:
        return record_reply(self._corrections.state())

    async def _correct(self, request: Request) -> Response:
        new = await body_of(request, asked.NewLabel)
        await self._require_labelled(new.name)
        await asyncio.to_thread(self._corrections.add, new.name, new.label, new.instead, new.after)
        return record_reply(self._corrections.state())

    async def _require_labelled(self, name: str) -> None:
        """RankOneError for a part that is neither there, nor in the list, nor corrected before."""
        try:
            await asyncio.to_thread(self._known.require, [name])
        except RankOneError:
            if name not in self._corrections.state().parts and not await self._listing.holds(name):
                raise

    async def _export(self, request: Request) -> Response:
        wanted = await body_of(request, asked.ExportRequest)
        return record_reply(Started(job=self._exports.start(wanted)))

    async def _named(self, request: Request) -> Response:
        names = (await body_of(request, asked.NamesRequest)).names
        return record_reply(NamesView(refused=await asyncio.to_thread(self._known.refused, names)))

    async def _exported(self, _: Request) -> Response:
        return record_reply(ExportsView(jobs=tuple(self._exports.list())))
