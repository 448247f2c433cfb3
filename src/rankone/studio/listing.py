"""Where the list of parts comes from: shipped columns, those of the harvest that was named, or none."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from rankone.core.errors import RankOneError
from rankone.core.manifest import read_manifest
from rankone.opening import BUILTIN_DECOMPOSITION, Opening, OpenOptions
from rankone.studio.columns import SHIPPED
from rankone.studio.pool import Worker


class Listing:
    """The columns of one opening, as they lie on disk."""

    def __init__(self, options: OpenOptions, worker: Worker, folder: Path) -> None:
        self._options, self._worker, self._folder = options, worker, folder
        self._packed: tuple[bytes, str] | None = None
        self._lock = asyncio.Lock()

    async def packed(self) -> tuple[bytes, str]:
        """The gzipped columns and their tag; RankOneError that says how to get some where there are none."""
        async with self._lock:
            if self._packed is None:
                packed = (await self._place()).read_bytes()
                self._packed = packed, f'"{hashlib.sha256(packed).hexdigest()[:32]}"'
            return self._packed

    async def _place(self) -> Path:
        options = self._options
        if options.harvest is not None:
            return await self._harvested(options.harvest)
        if Opening(options).decomposition_name == BUILTIN_DECOMPOSITION and options.model == "mini":
            return SHIPPED
        raise RankOneError(
            "no list of parts: give --harvest DIR (made by `rankone harvest`). Parts can be turned by their names."
        )

    async def _harvested(self, harvest: Path) -> Path:
        """Columns of a harvest, made once by the worker and kept in the workspace."""
        path = self._folder / f"parts-{columns_key(harvest, self._options.labels)}.json.gz"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            event, data = await self._worker.answer("columns", {"out": str(path)})
            if event == "failed":
                raise RankOneError(str(data))
        return path


def columns_key(harvest: Path, labels: Path | None) -> str:
    """What the columns of a harvest and its labels are kept by."""
    named = [read_manifest(path).fingerprint for path in (harvest, labels) if path is not None]
    return hashlib.sha256("".join(named).encode()).hexdigest()[:16]
