"""The worker's inbox: jobs in their order, what was freed given back while none comes."""

from __future__ import annotations

import os

from rankone.studio.working import process
from rankone.studio.working.process import Inbox


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
        assert inbox.next() == {"id": 2, "kind": "warm", "body": {}}
        assert inbox.next() is None
    assert given_back == [True]
    assert inbox.called_off(1)
    assert not inbox.called_off(2)
