"""The server's hold on the worker: sends jobs, hands their events on, calls off what is superseded, starts it again.

Of the jobs of one page and kind that supersede each other only the last one is alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator

from pydantic import JsonValue

from rankone.opening import OpenOptions
from rankone.runtime.quiet import PASSIVE

Event = tuple[str, JsonValue]
# Longest line of the worker's: a page of a part with its examples.
_LINE = 1 << 24
_ENDED = ("done", "failed", "superseded")


class Worker:
    """One worker process; it is started when the first job comes, and again after it has died."""

    def __init__(self, options: OpenOptions) -> None:
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: dict[int, tuple[asyncio.subprocess.Process, asyncio.Queue[Event]]] = {}
        self._latest: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._lock = asyncio.Lock()
        self.restarts = -1

    @property
    def alive(self) -> int:
        """Jobs that have not ended."""
        return len(self._waiting)

    async def events(self, kind: str, body: dict[str, JsonValue], slot: str = "") -> AsyncIterator[Event]:
        """Send a job and yield its events; the last is done, superseded or failed.

        slot: a later job of the same slot calls this one off.
        """
        try:
            process = await self._start()
        except OSError as error:  # no memory, no more processes
            yield (
                "failed",
                f"the worker cannot be started ({error.strerror}): end what else runs, and ask again.",
            )
            return
        id_ = next(self._numbers)
        box: asyncio.Queue[Event] = asyncio.Queue()
        self._waiting[id_] = process, box
        before = self._latest.get(slot)
        try:
            if slot:
                self._latest[slot] = id_
                if before in self._waiting:
                    await self._send({"cancel": before})
            await self._send({"id": id_, "kind": kind, "body": body})
            while True:
                event = await box.get()
                yield event
                if event[0] in _ENDED:
                    return
        finally:
            if self._waiting.pop(id_, None) is not None:
                with contextlib.suppress(ConnectionError):
                    await self._send({"cancel": id_})
            if self._latest.get(slot) == id_:
                del self._latest[slot]

    async def answer(self, kind: str, body: dict[str, JsonValue]) -> Event:
        """The one event of a job that has one: its data, or why it failed."""
        data: JsonValue = None
        try:
            async for event, given in self.events(kind, body):
                if event == "failed":
                    return event, given
                data = given if event == "partial" else data
        except asyncio.CancelledError:  # by a server that ends while somebody waits
            return "failed", "the studio was ended."
        return "done", data

    async def stop(self) -> None:
        """End the process."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        async with self._lock:
            if self._process is not None and self._process.returncode is None:
                return self._process
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "rankone.studio.working.process",
                self._options.model_dump_json(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE,
                env=PASSIVE | os.environ,
            )
            self.restarts += 1
            self._reader = asyncio.create_task(self._read(self._process))
            return self._process

    async def _send(self, line: dict[str, JsonValue]) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.write(json.dumps(line).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await process.stdin.drain()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Hand every line to the job it is of; when the process ends, its jobs have failed."""
        assert process.stdout is not None
        while raw := await process.stdout.readline():
            line = json.loads(raw)
            if line["id"] in self._waiting:
                self._waiting[line["id"]][1].put_nowait((line["event"], line["data"]))
        code = await process.wait()
        said = "out of memory, or killed" if code in (-9, 137) else f"exit status {code}"
        for asked, box in self._waiting.values():
            if asked is process:  # one that was started meanwhile goes on
                box.put_nowait(
                    ("failed", f"the worker ended ({said}); it is started again by the next question.")
                )
