"""A studio as its users start it: the command in a process of its own, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Served:
    """A running studio."""

    address: str
    port: int
    token: str
    folder: Path
    process: subprocess.Popen

    def ask(
        self, path: str, body: object = None, headers: dict[str, str | None] | None = None, method: str = ""
    ):
        """(status, headers, body) of one request with the token; None takes a header away."""
        given = {"authorization": f"Bearer {self.token}", **(headers or {})}
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            given = {"content-type": "application/json", **given}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.putrequest(method or ("GET" if data is None else "POST"), path, skip_host="host" in given)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        if data is not None and "content-length" not in given:
            connection.putheader("content-length", str(len(data)))
        connection.endheaders(data)
        reply = connection.getresponse()
        answer = reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        connection.close()
        return answer

    def json(self, path: str, body: object = None):
        """The JSON of an answer that must be 200."""
        status, _, answer = self.ask(path, body)
        assert status == 200, answer
        return json.loads(answer)

    def events(self, path: str, body: object) -> list[tuple[str, object]]:
        """All events of a stream."""
        status, _, answer = self.ask(path, body)
        assert status == 200, answer
        blocks = [block.split("\n", 1) for block in answer.decode().strip().split("\n\n")]
        return [(event[7:], json.loads(data[6:])) for event, data in blocks]


@contextmanager
def studio(folder: Path, *options: str) -> Iterator[Served]:
    """`rankone studio FOLDER --no-browser`, ended at the end of the block."""
    command = [sys.executable, "-P", "-m", "rankone", "studio", str(folder), "--no-browser", *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("studio: http"), line
        address = line.split()[1]
        parts = urlsplit(address)
        served = Served(address, parts.port or 0, parse_qs(parts.query)["token"][0], folder, process)
        _wait(served)
        yield served
    finally:
        process.terminate()
        process.wait(20)


def _wait(served: Served, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            assert served.ask("/")[0] == 200
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return
