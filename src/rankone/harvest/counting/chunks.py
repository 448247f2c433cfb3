"""What a harvest has counted so far, on disk: chunks that appear whole or not at all.

A shard's folder holds `about.json` (what is being harvested), `chunk-NNNNNNNN` (an artefact: the sums over a stretch of
batches) and, once it is through, `finished.json`. The chunks are the record of progress: a shard goes on after the last
one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import Tensor

from rankone.core.artifact import Artifact, new_artifact, open_artifact, read_json, write_json
from rankone.core.claims import clean, scratch_folder
from rankone.core.errors import RankOneError
from rankone.core.manifest import artefact_kind
from rankone.harvest.config import HELD_PARTS
from rankone.harvest.counting.shard import Shard
from rankone.harvest.records import About, Finished, Progress

KIND = "harvest-chunk"
_ABOUT, _FINISHED = "about.json", "finished.json"
Column = Tensor | np.ndarray | pa.Array
# Rows per row group of a chunk: a reader takes one stretch of parts at a time.
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


class OpenChunk:
    """A chunk that is being filled: tables are written piece by piece, one file each. stop: the first batch not in it."""

    def __init__(self, folder: Path, first: int) -> None:
        self.folder, self.stop = folder, first
        self._writers: dict[str, pq.ParquetWriter] = {}

    def write(self, table: str, columns: Mapping[str, Column]) -> None:
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


def _column(values: Column) -> pa.Array:
    if isinstance(values, Tensor):
        values = values.cpu().numpy()
    return values if isinstance(values, pa.Array) else pa.array(values)


def clear(run: Path, shard: Shard) -> None:
    """Remove what a shard left in a run directory, and that where nothing else is in it: the harvest holds it all."""
    place = run / shard.folder
    if not place.is_dir():
        return
    counted = [path for path in place.iterdir() if _is_counted(path)]
    whole = len(counted) == len(list(place.iterdir()))
    alone = whole and list(run.iterdir()) == [place]
    with scratch_folder(run) as gone:  # what a kill leaves of it, `clean` knows
        for path in [run] if alone else [place] if whole else counted:
            path.rename(gone / path.name)


def _is_counted(path: Path) -> bool:
    """Whether an entry of a shard's folder was made by the harvest."""
    kinds = {HELD_PARTS: "decomposition"}
    if path.is_dir() and not path.is_symlink():
        return artefact_kind(path) == kinds.get(path.name, KIND)
    return path.name in (_ABOUT, _FINISHED)


class ShardFolder:
    """The chunks of one shard in a run directory."""

    def __init__(self, run: Path, shard: Shard, about: About) -> None:
        self.path, self.shard, self._about = run / shard.folder, shard, about
        known = read_about(self.path)
        if known is not None and known != about:
            raise RankOneError(
                f"'{self.path}' was begun with other settings, text, model or decomposition. "
                "Use another run directory, or the same settings."
            )
        clean(self.path)

    def chunks(self) -> list[Artifact]:
        """Its chunks, verified, in order; a damaged one is refused, and named."""
        return [open_artifact(path, KIND) for path in sorted(self.path.glob("chunk-*"))]

    @property
    def finished(self) -> bool:
        """Whether all its batches are counted."""
        return (self.path / _FINISHED).exists()

    def finish(self, seen: Finished) -> None:
        """Note that all is counted."""
        write_json(self.path / _FINISHED, seen.model_dump())

    @contextmanager
    def open_chunk(self, first: int) -> Iterator[OpenChunk]:
        """A chunk to fill from batch `first` on; its `stop` is to be moved with every batch."""
        about = self.path / _ABOUT
        if not about.exists():  # Not earlier: a mistyped command leaves nothing to clear away.
            write_json(about, self._about.model_dump(mode="json"))
        with new_artifact(self.path / f"chunk-{first:08d}", KIND, {"shard": self.shard.folder}) as staging:
            chunk = OpenChunk(staging, first)
            try:
                yield chunk
            finally:
                chunk.close()
            write_json(staging / "progress.json", Progress(first=first, stop=chunk.stop).model_dump())


def progress_of(chunk: Artifact) -> Progress:
    """Which batches a chunk holds."""
    return Progress.checked(chunk.json("progress.json"), str(chunk.path))


def read_about(folder: Path) -> About | None:
    """What a shard's folder says it harvests; None where it says nothing yet."""
    path = folder / _ABOUT
    if not path.exists():
        return None
    try:
        return About.checked(read_json(path), "about.json")
    except RankOneError as error:
        raise RankOneError(
            f"'{path}' is damaged, or of another version ({error}). Remove the shard's folder and harvest it again."
        ) from error
