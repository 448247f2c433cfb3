"""Exports under way: each an edit of the journal, written and verified by the worker while the page may be closed."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue

from rankone.core.artifact import refuse_existing
from rankone.core.config import Record
from rankone.core.files import require_folder
from rankone.studio.kept.journal import Journal
from rankone.studio.pool import Worker
from rankone.studio.views.requests import ExportRequest

_VERIFIED = "written and verified after reload"
_DONE = {"edit": "written and read again", "adapter": _VERIFIED, "checkpoint": _VERIFIED}


class Export(Record):
    """A job. out: where it goes, in the workspace; figures: of the verification after reload."""

    id: int
    entry: int
    form: Literal["edit", "adapter", "checkpoint"]
    out: str
    state: Literal["running", "done", "failed"] = "running"
    said: str = ""
    figures: dict[str, str | int | float] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Exports:
    """The jobs since the server was started."""

    def __init__(self, worker: Worker, journal: Journal, folder: Path) -> None:
        self._worker, self._journal, self._folder = worker, journal, folder
        self._jobs: dict[int, Export] = {}
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    def list(self) -> list[Export]:
        """All of them, the last first."""
        return list(reversed(self._jobs.values()))

    def start(self, wanted: ExportRequest) -> int:
        """Begin an export; its number. RankOneError for an unknown edit and for one that was written before."""
        edit = self._journal.kept(wanted.entry)
        out = self._folder / f"edit-{wanted.entry}-{wanted.as_}"
        require_folder(self._folder.parent.parent)
        self._folder.mkdir(parents=True, exist_ok=True)
        refuse_existing(out)
        id_ = next(self._numbers)
        self._jobs[id_] = Export(id=id_, entry=wanted.entry, form=wanted.as_, out=out.name)
        body: dict[str, JsonValue] = {"scales": dict(edit.scales), "out": str(out), "as": wanted.as_}
        task = asyncio.create_task(self._run(id_, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return id_

    async def _run(self, id_: int, body: dict[str, JsonValue]) -> None:
        async for event, data in self._worker.events("export", body):
            change: dict[str, JsonValue] = {}
            if event == "partial" and isinstance(data, dict):
                change = {name: data[name] for name in ("said", "figures", "warnings") if name in data}
            elif event == "done":
                change = {"state": "done", "said": _DONE[self._jobs[id_].form]}
            elif event == "failed":
                change = {"state": "failed", "said": str(data)}
            self._jobs[id_] = Export.model_validate(self._jobs[id_].model_dump() | change)
