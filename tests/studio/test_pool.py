"""The worker's process: the end of one fails its own jobs, not those of the next."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import Process
from typing import cast

from rankone.opening import OpenOptions
from rankone.studio.pool import Worker


class _Ended:
    """A process that has ended, whose output is read to its end late."""

    returncode = -9

    class stdout:
        @staticmethod
        async def readline() -> bytes:
            return b""

    async def wait(self) -> int:
        return -9


def test_a_job_of_the_next_process_outlives_the_end_of_the_last():
    async def told() -> tuple[bool, bool]:
        worker, old, new = Worker(OpenOptions()), cast(Process, _Ended()), cast(Process, _Ended())
        boxes = asyncio.Queue(), asyncio.Queue()
        worker._waiting = {1: (old, boxes[0]), 2: (new, boxes[1])}
        await worker._read(old)
        return boxes[0].empty(), boxes[1].empty()

    assert asyncio.run(told()) == (False, True)


def test_a_question_that_waits_when_the_server_ends_is_answered():
    async def told() -> tuple[str, object]:
        worker = Worker(OpenOptions())

        async def started() -> Process:
            await asyncio.sleep(60)
            raise AssertionError

        worker._start = started
        waiting = asyncio.create_task(worker.answer("warm", {}))
        await asyncio.sleep(0)
        waiting.cancel()
        return await waiting

    assert asyncio.run(told()) == ("failed", "the studio was ended.")


def test_a_worker_that_cannot_be_started_is_said(monkeypatch):
    async def refused(*_: object, **__: object) -> Process:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
    event, words = asyncio.run(Worker(OpenOptions()).answer("warm", {}))
    assert event == "failed"
    assert "cannot be started (Resource temporarily unavailable)" in str(words)
