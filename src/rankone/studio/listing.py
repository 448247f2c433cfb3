"""Where the list of parts comes from: shipped columns, those of the harvest that was named, or none.

A list of more than MOST parts or SENT bytes is not sent whole: the page gets its head, and rows in pages.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rankone.core.errors import RankOneError
from rankone.core.manifest import read_manifest
from rankone.opening import BUILTIN_DECOMPOSITION, Opening, OpenOptions
from rankone.studio.listed.columns import SHIPPED, RowsView, parts_in, read_columns
from rankone.studio.listed.requests import RowsRequest
from rankone.studio.pool import Worker

if TYPE_CHECKING:
    from rankone.studio.listed.finding import Finder

MOST, SENT = 100_000, 2_000_000


class Listing:
    """The columns of one opening, as they lie on disk."""

    def __init__(self, options: OpenOptions, worker: Worker, folder: Path) -> None:
        self._options, self._worker, self._folder = options, worker, folder
        self._packed: tuple[bytes, str] | None = None
        self._finder: Finder | None = None
        self._lock = asyncio.Lock()

    async def packed(self) -> tuple[bytes, str]:
        """The gzipped columns and their tag, of a long list their head; RankOneError where there are none."""
        async with self._lock:
            if self._packed is None:
                packed = await asyncio.to_thread((await self._place()).read_bytes)
                if len(packed) > SENT or await asyncio.to_thread(parts_in, packed) > MOST:
                    head = (await self._opened()).columns.head()
                    packed = gzip.compress(head.model_dump_json().encode(), mtime=0)
                self._packed = packed, f'"{hashlib.sha256(packed).hexdigest()[:32]}"'
            return self._packed

    async def rows(self, asked: RowsRequest, corrected: Mapping[str, str]) -> RowsView:
        """A page of the rows that fit, searched here; corrected: labels that were said by hand, by part."""
        async with self._lock:
            finder = await self._opened()
            return await asyncio.to_thread(finder.view, asked, corrected)

    async def holds(self, name: str) -> bool:
        """Whether a part is in the list; False where there is none."""
        try:
            async with self._lock:
                return (await self._opened()).holds(name)
        except RankOneError:
            return False

    async def _opened(self) -> Finder:
        """The list as it can be searched, read once."""
        if self._finder is None:
            from rankone.studio.listed.finding import Finder

            place = await self._place()
            self._finder = await asyncio.to_thread(lambda: Finder(read_columns(place)))
        return self._finder

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
