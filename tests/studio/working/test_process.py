"""The worker's inbox: jobs in their order, what was freed given back while none comes."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator

from rankone.core.errors import RankOneError
from rankone.opening import OpenOptions
from rankone.studio.working import process, work
from rankone.studio.working.process import Inbox, serve


def test_a_job_that_comes_late_is_waited_for_and_memory_given_back_meanwhile(monkeypatch):
    inward, outward = os.pipe()
    given_back = []

    def idle() -> None:
        given_back.append(True)
        os.write(outward, b'{"cancel": 1}\n{"id": 2, "kind": "warm", "body": {}}\n')
        os.close(outward)

    monkeypatch.setattr(process, "IDLE", 0.05)
    monkeypatch.setattr(process, "give_back", idle)
    with os.fdopen(inward, "rb") as stream:
        inbox = Inbox(stream)
        assert inbox.next(iter(())) == {"id": 2, "kind": "warm", "body": {}}
        assert inbox.next(iter(())) is None
    assert given_back == [True]
    assert inbox.called_off(1)
    assert not inbox.called_off(2)


def test_work_ahead_is_done_while_no_job_is_there_and_left_at_once_when_one_comes():
    inward, outward = os.pipe()
    done = []

    def ahead() -> Iterator[None]:
        for step in range(5):
            done.append(step)
            if step == 2:
                os.write(outward, b'{"id": 1, "kind": "preview", "body": {}}\n')
                while inbox.jobs.empty():
                    time.sleep(0.001)
            yield

    with os.fdopen(inward, "rb") as stream:
        inbox = Inbox(stream)
        assert inbox.next(ahead()) == {"id": 1, "kind": "preview", "body": {}}
        assert done == [0, 1, 2]
        os.close(outward)


class Jobs:
    """Of three jobs the first is refused, the second has a fault, the third is done."""

    def __init__(self, _opening) -> None:
        self.count = 0

    def do(self, kind, body) -> Iterator[dict | None]:
        self.count += 1
        if self.count == 1:
            raise RankOneError(f"no {kind} of {body}.")
        yield None
        if self.count == 2:
            raise ZeroDivisionError("by hand")
        yield {"count": self.count}

    def ahead(self) -> Iterator[None]:
        return iter(())


def test_a_job_that_fails_is_told_and_the_next_is_done(monkeypatch):
    monkeypatch.setattr(work, "Work", Jobs)
    asked = b"".join(json.dumps({"id": i, "kind": "warm", "body": {}}).encode() + b"\n" for i in (4, 5, 6))
    out = io.StringIO()
    serve(OpenOptions(), Inbox(io.BytesIO(asked)), out)
    assert [json.loads(line) for line in out.getvalue().splitlines()] == [
        {"id": 4, "event": "failed", "data": "no warm of {}."},
        {"id": 5, "event": "failed", "data": "a fault of RankOne's: ZeroDivisionError: by hand"},
        {"id": 6, "event": "partial", "data": {"count": 3}},
        {"id": 6, "event": "done", "data": None},
    ]
