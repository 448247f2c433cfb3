"""Workers on this machine: processes that each hold the model and take the next stack when they are done with one."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import torch

from rankone.core.errors import RankOneError
from rankone.experiments.bench.work import Made, Setup, Work
from rankone.experiments.workers.doing import Answer
from rankone.runtime.quiet import PASSIVE
from rankone.runtime.scratch import Scratch

_LAST = 2000


class Processes:
    """So many processes; each is started with its first stack and ends with `close`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._children: list[_Child] = []

    def results(self, setup: Setup, works: Sequence[Work]) -> Iterator[tuple[Work, Made]]:
        """Every stack with what came of it, as they end. RankOneError, and the end of all, where one is refused or dies."""
        setup = setup.model_copy(update={"threads": max(1, torch.get_num_threads() // self.count)})
        left, ended = queue.SimpleQueue[Work](), queue.SimpleQueue[tuple[Work, Made] | RankOneError]()
        for work in works:
            left.put(work)
        while len(self._children) < min(self.count, len(works)):
            self._children.append(_Child(setup, len(self._children)))
        for child in self._children:
            threading.Thread(target=_take, args=(child, left, ended), daemon=True).start()
        try:
            for _ in works:
                if isinstance(one := ended.get(), RankOneError):
                    raise one
                yield one
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all processes, whatever they do."""
        while self._children:
            self._children.pop().end()


def _take(
    child: _Child, left: queue.SimpleQueue[Work], ended: queue.SimpleQueue[tuple[Work, Made] | RankOneError]
) -> None:
    """Have one process do what is left until nothing is."""
    while True:
        try:
            work = left.get_nowait()
        except queue.Empty:
            return
        try:
            ended.put((work, child.do(work)))
        except RankOneError as error:
            ended.put(error)
            return


class _Child:
    """One process, its words on standard error kept for the case that it dies."""

    def __init__(self, setup: Setup, number: int) -> None:
        self._scratch = Scratch("worker")
        self._said = self._scratch.path / "stderr"
        with self._said.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rankone.experiments.workers.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=PASSIVE | os.environ,
                text=True,
                encoding="utf8",
            )
        self.number = number
        self._send(setup.model_dump_json())

    def do(self, work: Work) -> Made:
        """Hand over a stack and wait for its answer."""
        self._send(work.model_dump_json())
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise RankOneError(self._death())
        said = json.loads(line)
        if "refused" in said:
            raise RankOneError(said["refused"])
        return Answer.model_validate_json(said["made"]).made()

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
        _pipe(self._process.stdout).close()
        self._scratch.close()

    def _send(self, line: str) -> None:
        pipe = _pipe(self._process.stdin)
        try:
            pipe.write(line + "\n")
            pipe.flush()
        except BrokenPipeError:
            raise RankOneError(self._death()) from None

    def _death(self) -> str:
        code = self._process.wait()
        why = "killed: out of memory?" if code in (-9, 137) else f"exit status {code}"
        last = _last_line(self._said)
        return (
            f"worker {self.number + 1} ended ({why}{f'; it said: {last}' if last else ''}). What has run is kept: "
            "give the same command again, with fewer --workers if memory was short."
        )


def _last_line(path: Path) -> str:
    lines = (
        path.read_bytes()[-_LAST:].decode("utf8", "replace").strip().splitlines() if path.is_file() else []
    )
    return lines[-1] if lines else ""


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
