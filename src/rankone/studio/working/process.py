"""The worker: a process of its own that owns PyTorch and does one job after the other; lines of JSON in and out.

In: {"id": 1, "kind": "preview", "body": {…}} or {"cancel": 1}; out: {"id": 1, "event": "partial", "data": {…}}, and at
last an event done, superseded or failed. What libraries print goes to standard error, so that nothing mixes with the lines.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO, TextIO

from pydantic import JsonValue

from rankone.core.errors import RankOneError
from rankone.core.foreign import explained
from rankone.opening import Opening, OpenOptions
from rankone.runtime.memory import spare_imported
from rankone.runtime.quiet import lines_out, quiet_libraries
from rankone.studio.working.memory import IDLE, give_back

Line = dict[str, JsonValue]
_ENDED = object()


class Inbox:
    """Jobs that came in, read by a thread so that a cancellation is seen while another job runs."""

    def __init__(self, stream: BinaryIO) -> None:
        self.jobs: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._off: set[int] = set()
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def next(self, ahead: Iterator[None]) -> Line | None:
        """The next job, waited for; None where the other side has closed. ahead: done step by step while none is there."""
        while self.jobs.empty() and next(ahead, _ENDED) is not _ENDED:
            pass
        try:
            return self.jobs.get(timeout=IDLE)
        except queue.Empty:
            give_back()
            return self.jobs.get()

    def called_off(self, id_: int) -> bool:
        """Whether a job was cancelled."""
        return id_ in self._off

    def _read(self, stream: BinaryIO) -> None:
        for raw in stream:
            line: Line = json.loads(raw)
            if "cancel" in line:
                self._off.add(int(str(line["cancel"])))
            else:
                self.jobs.put(line)
        self.jobs.put(None)


def serve(options: OpenOptions, inbox: Inbox, out: TextIO) -> None:
    """Do jobs until the other side closes."""
    from rankone.studio.working.work import Work

    def say(id_: int, event: str, data: JsonValue) -> None:
        out.write(json.dumps({"id": id_, "event": event, "data": data}, allow_nan=False) + "\n")
        out.flush()

    work: Work | None = None
    while (line := inbox.next(work.ahead() if work else iter(()))) is not None:
        id_, kind, body = int(str(line["id"])), str(line["kind"]), line["body"]
        assert isinstance(body, dict)
        try:
            work = work or Work(Opening(options))
            with closing(work.do(kind, body)) as events:
                for data in events:
                    if inbox.called_off(id_):
                        break
                    if data is not None:
                        say(id_, "partial", data)
            say(id_, "superseded" if inbox.called_off(id_) else "done", None)
        except Exception as error:  # a failed job is told; the next one is done all the same
            say(id_, "failed", _words(error))


def _words(error: Exception) -> str:
    if isinstance(error, RankOneError):
        return str(error)
    return explained(error) or f"a fault of RankOne's: {type(error).__name__}: {error}"


def main() -> None:
    """Started by the server: the options of the opening are its one argument, as JSON."""
    quiet_libraries()
    spare_imported()
    serve(OpenOptions.checked(json.loads(sys.argv[1]), "studio"), Inbox(sys.stdin.buffer), lines_out())


if __name__ == "__main__":
    main()
