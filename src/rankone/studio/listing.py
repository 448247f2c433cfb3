"""Where the list of parts comes from: shipped columns, those of the harvest that was named, or none."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from rankone.core.errors import RankOneError
from rankone.core.manifest import read_manifest
from rankone.models.sources.names import ASSETS
from rankone.opening import BUILTIN_DECOMPOSITION, Opening, OpenOptions
from rankone.studio.columns import SHIPPED, PartColumns, read_columns
from rankone.studio.pool import Worker


class Listing:
    """The columns of one opening, gzipped for the page once."""

    def __init__(self, options: OpenOptions, worker: Worker, folder: Path) -> None:
        self._options, self._worker, self._folder = options, worker, folder
        self._packed: tuple[bytes, str] | None = None
        self._lock = asyncio.Lock()

    async def packed(self) -> tuple[bytes, str]:
        """The columns and their tag; RankOneError that says how to get some where there are none."""
        async with self._lock:
            if self._packed is None:
                packed = (await self._columns()).packed()
                self._packed = packed, f'"{hashlib.sha256(packed).hexdigest()[:32]}"'
            return self._packed

    async def _columns(self) -> PartColumns:
        options = self._options
        if options.harvest is not None:
            return await self._harvested(options.harvest)
        if Opening(options).decomposition_name == BUILTIN_DECOMPOSITION and options.model == "mini":
            return await asyncio.to_thread(_shipped)
        raise RankOneError(
            "no list of parts: give --harvest DIR (made by `rankone harvest`). Parts can be turned by their names."
        )

    async def _harvested(self, harvest: Path) -> PartColumns:
        """Columns of a harvest, made once by the worker and kept in the workspace."""
        labels = self._options.labels
        named = [read_manifest(path).fingerprint for path in (harvest, labels) if path is not None]
        key = hashlib.sha256("".join(named).encode()).hexdigest()[:16]
        path = self._folder / f"parts-{key}.parquet"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            event, data = await self._worker.answer("columns", {"out": str(path)})
            if event == "failed":
                raise RankOneError(str(data))
        return await asyncio.to_thread(read_columns, path)


def _shipped() -> PartColumns:
    """Those of the built-in decomposition; RankOneError where they are of another one."""
    columns = read_columns(SHIPPED)
    if columns.source.artifact != read_manifest(ASSETS / BUILTIN_DECOMPOSITION, "decomposition").fingerprint:
        raise RankOneError(f"'{SHIPPED}' is of another decomposition: make it anew (perf/studio_parts.py).")
    return columns
