"""What a harvest has counted so far, on disk: parts that appear whole or not at all.

A shard's folder holds `about.json` (what is being harvested), `part-NNNNNN` (an artefact: the sums over a stretch of
batches) and, once it is through, `finished.json`. The parts are the record of progress: a shard goes on after the last
one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from rankone.core.artifact import Artifact, new_artifact, open_artifact, write_json
from rankone.core.claims import clean
from rankone.core.errors import RankOneError

KIND = "harvest-part"
# Rows per row group of a part: a reader takes one stretch of subcomponents at a time.
ROW_GROUP = 1 << 16
COUNTS = ("weight", "joint")


def table_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A Parquet writer for sorted numbers: differences of integers, bytes of reals side by side, dictionaries of counts.

    Counts are mostly small, but a large one would widen the differences of all its neighbours. (Bytes side by side would
    do better for them; DuckDB reads that of integers from 2.0 on only.)
    """
    encodings, counts = {}, []
    for field in schema:
        if field.name in COUNTS and pa.types.is_integer(field.type):
            counts.append(field.name)
        elif pa.types.is_integer(field.type):
            encodings[field.name] = "DELTA_BINARY_PACKED"
        elif pa.types.is_floating(field.type):
            encodings[field.name] = "BYTE_STREAM_SPLIT"
    # Higher levels take several times as long for a few per cent.
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=counts,  # pyright: ignore[reportArgumentType]
        column_encoding=encodings,
    )


class OpenPart:
    """A part that is being filled: tables are written piece by piece, one file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}

    def write(self, table: str, columns: dict[str, Any]) -> None:
        """Append rows; tensors and arrays keep their type."""
        made = pa.table({name: _column(values) for name, values in columns.items()})
        if table not in self._writers:
            path = self.folder / f"{table}.parquet"
            # Read once and combined: quickly written, not small.
            self._writers[table] = pq.ParquetWriter(
                path,
                made.schema,
                compression="lz4",
                use_dictionary=False,
                write_statistics=made.column_names[:1],
            )
        self._writers[table].write_table(made, row_group_size=ROW_GROUP)

    def close(self) -> None:
        """Finish the files."""
        for writer in self._writers.values():
            writer.close()


def _column(values: Tensor | np.ndarray | pa.Array) -> pa.Array:
    if isinstance(values, Tensor):
        values = values.cpu().numpy()
    return values if isinstance(values, pa.Array) else pa.array(values)


@dataclass(frozen=True)
class Shard:
    """Shard `index` of `count`: it counts every `count`-th batch."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise RankOneError(
                f"no shard {self.index}/{self.count}: with {self.count} shards they are 0/{self.count} to "
                f"{max(self.count - 1, 0)}/{self.count}."
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`i/n`, counted from 0."""
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None:
            raise RankOneError(f"shard '{text}' is not I/N, as 0/4 for the first of four.")
        return cls(int(match[1]), int(match[2]))

    @property
    def folder(self) -> str:
        """Its folder's name in the run directory."""
        return f"shard-{self.index:03d}-of-{self.count:03d}"

    def owns(self, batch: int) -> bool:
        """Whether it counts this batch."""
        return batch % self.count == self.index


class ShardFolder:
    """The parts of one shard in a run directory."""

    def __init__(self, run: Path, shard: Shard, about: dict[str, Any]) -> None:
        self.path, self.shard, self._about = run / shard.folder, shard, about
        known = read_about(self.path)
        if known is not None and known["hash"] != about["hash"]:
            raise RankOneError(
                f"'{self.path}' was begun with other settings, text, model or decomposition. "
                "Use another run directory, or the same settings."
            )
        clean(self.path)

    def parts(self) -> list[Artifact]:
        """Its parts, verified, in order; a damaged one is refused, and named."""
        return [open_artifact(path, KIND) for path in sorted(self.path.glob("part-*"))]

    @property
    def finished(self) -> bool:
        """Whether all its batches are counted."""
        return (self.path / "finished.json").exists()

    def finish(self, values: dict[str, Any]) -> None:
        """Note that all is counted."""
        write_json(self.path / "finished.json", values)

    @contextmanager
    def open_part(self, first: int) -> Iterator[tuple[OpenPart, dict[str, int]]]:
        """A part to fill from batch `first` on; set `stop` of the progress to the first batch not in it."""
        if not (
            self.path / "about.json"
        ).exists():  # Not earlier: a mistyped command leaves nothing to clear away.
            write_json(self.path / "about.json", self._about)
        progress = {"first": first, "stop": first}
        with new_artifact(self.path / f"part-{first:08d}", KIND, {"shard": self.shard.folder}) as staging:
            part = OpenPart(staging)
            try:
                yield part, progress
            finally:
                part.close()
            write_json(staging / "progress.json", progress)


def read_about(folder: Path) -> dict[str, Any] | None:
    """What a shard's folder says it harvests; None where it says nothing yet."""
    path = folder / "about.json"
    try:
        return json.loads(path.read_text("utf8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise RankOneError(
            f"'{path}' is damaged ({error}). Remove the shard's folder and harvest it again."
        ) from error
