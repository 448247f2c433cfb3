"""From the chunks of all shards to one harvest: sums added, samples cut, tables sorted by part.

All tables are combined a stretch of parts at a time, so memory does not grow with the harvest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from rankone.core.artifact import (
    Artifact,
    copy_artifact,
    new_artifact,
    open_artifact,
    read_json,
    write_json,
)
from rankone.core.errors import RankOneError
from rankone.core.reading import reading
from rankone.decomposition.model import KIND as DECOMPOSITION
from rankone.harvest.config import HELD_PARTS
from rankone.harvest.counting.chunks import KIND as CHUNK_KIND
from rankone.harvest.counting.chunks import progress_of, read_about, table_writer
from rankone.harvest.counting.neighbours import nearest_neighbours
from rankone.harvest.counting.sparse import UNITS
from rankone.harvest.counting.stretches import Stretches
from rankone.harvest.records import About, Finished, HarvestRecord
from rankone.runtime.progress import Meter, meter

KIND = "harvest"
# Subcomponents combined at once, and rows of a row group: what a page must read at least of each table.
STRETCH = 512
ROW_GROUP = 1 << 14
EXAMPLE_ROW_GROUP = 1 << 11
# Binary digits of a probability mass.
SIGNIFICANT = 11
# Neighbours look for the second of a pair in the whole table, so they are taken in fewer stretches.
NEIGHBOUR_STRETCH = 4096


@dataclass(frozen=True)
class Source:
    """The chunks of a complete harvest. held: the parts that it counts, where they lie nowhere else."""

    about: About
    tokens: dict[str, int]
    chunks: list[Artifact]
    held: Artifact | None = None

    @property
    def total(self) -> int:
        """Number of text tokens."""
        return sum(self.tokens.values())


def shard_folders(runs: list[Path]) -> list[Path]:
    """The shards' folders in run directories."""
    for run in runs:
        if not run.is_dir():
            raise RankOneError(f"no run directory at '{run}'. Check the path.")
    return sorted(f for run in runs for f in run.glob("shard-*-of-*") if f.is_dir())


def gather(runs: list[Path]) -> Source:
    """Verify that the runs hold every shard of one harvest, finished, and return their chunks."""
    folders = shard_folders(runs)
    if not folders:
        raise RankOneError(
            f"no shards in {', '.join(map(str, runs))}. Give the run directories of a harvest."
        )
    abouts = [read_about(folder) for folder in folders]
    first = abouts[0]
    for folder, about in zip(folders, abouts, strict=True):
        if first is None or about is None or about != first:
            raise RankOneError(
                f"'{folder}' is of another harvest than '{folders[0]}': settings, text, model or decomposition "
                "differ. Merge shards of one harvest."
            )
    assert first is not None
    _refuse_gaps(folders)
    finished = [Finished.checked(read_json(f / "finished.json"), str(f / "finished.json")) for f in folders]
    chunks: list[Artifact] = []
    for folder, end in zip(folders, finished, strict=True):
        index = int(folder.name.split("-")[1])  # shards may come in any order
        counted = [open_artifact(path, CHUNK_KIND) for path in sorted(folder.glob("chunk-*"))]
        with reading(folder):
            _refuse_uncounted(folder, counted, range(index, end.batches, len(folders)))
        chunks += counted
    parts = folders[0] / HELD_PARTS
    held = open_artifact(parts, DECOMPOSITION) if parts.is_dir() else None
    return Source(first, finished[0].tokens, chunks, held)


def _refuse_uncounted(folder: Path, chunks: list[Artifact], batches: range) -> None:
    """Refuse a shard of whose batches some are in no chunk, or in two: a chunk was removed or copied."""
    counted: list[int] = []
    for chunk in chunks:
        progress = progress_of(chunk)
        counted += [batch for batch in batches if progress.first <= batch < progress.stop]
    if counted != list(batches):
        wrong = next(iter({b for b in counted if counted.count(b) > 1} or set(batches) - set(counted)), None)
        raise RankOneError(
            f"the chunks of '{folder}' do not count each batch once: batch {wrong} is in "
            f"{counted.count(wrong) if wrong is not None else 'no order'} of them. Restore the chunks, or remove the "
            "folder and harvest that shard again."
        )


def _refuse_gaps(folders: list[Path]) -> None:
    names = [folder.name for folder in folders]
    count = int(names[0].rpartition("-")[2])
    wanted = [f"shard-{i:03d}-of-{count:03d}" for i in range(count)]
    missing = sorted(set(wanted) - set(names)) + [
        f.name for f in folders if not (f / "finished.json").exists()
    ]
    if missing:
        raise RankOneError(
            f"the harvest is not complete: {', '.join(missing)} missing or unfinished. Run the same command for "
            "each shard; one that was cut off goes on."
        )
    if sorted(names) != wanted:
        raise RankOneError(
            f"shards do not fit together: found {', '.join(names)}, need {', '.join(wanted)} once."
        )


def combine(runs: list[Path], out: Path) -> Path:
    """Write the harvest that the shards in `runs` make up to `out`.

    Raises RankOneError when shards are missing, unfinished, damaged or of different harvests, and when `out` exists.
    """
    source = gather(runs)
    about = source.about
    record = HarvestRecord(
        **about.model_dump(include={"config", "decomposition", "model", "text", "clusters"}),
        tokens=source.tokens,
        parts=len(about.parts),
    )
    with new_artifact(out, KIND, {"shards": len(shard_folders(runs))}) as staging:
        write_json(staging / "config.json", record.model_dump(mode="json"))
        _Combination(source, staging).write()
        if source.held is not None:
            copy_artifact(source.held, staging / HELD_PARTS)
    return out


class _Combination:
    def __init__(self, source: Source, staging: Path) -> None:
        self.source, self.staging = source, staging
        self.parts = len(source.about.parts)
        self.config = source.about.config
        self.database = duckdb.connect()
        self.database.execute(f"SET threads = {torch.get_num_threads()}")
        self.database.execute("SET temp_directory = ''")

    def write(self) -> None:
        """All tables, one after the other."""
        stretches = -(-self.parts // STRETCH)
        with meter("combining", 5 * stretches) as bar:
            self._per_domain(bar)
            self._vocabulary()
            self._sums("inputs", ("part", "token", "weight"), bar)
            self._sums("outputs", ("part", "token", "weight"), bar, UNITS)
            self._sums("cofiring", ("first", "second", "joint"), bar)
            self._neighbours()
            self._examples(bar)
        if self.source.about.clusters is not None:
            self._members()
        self._text()
        self.database.close()

    def _files(self, table: str) -> list[Path]:
        paths = [chunk.path / f"{table}.parquet" for chunk in self.source.chunks]
        return [p for p in paths if p.exists()]

    def _stretches(
        self,
        name: str,
        table: Callable[[int, int], pa.Table],
        size: int,
        group: int,
        bar: Meter | None = None,
    ) -> None:
        """Write a table a stretch of parts at a time."""
        writer: pq.ParquetWriter | None = None
        for low in range(0, self.parts, size):
            rows = table(low, low + size)
            if writer is None:
                writer = table_writer(self.staging / f"{name}.parquet", rows.schema)
            if len(rows):
                writer.write_table(rows, row_group_size=group)
            if bar is not None:
                bar.advance()
        assert writer is not None
        writer.close()

    def _sums(self, name: str, columns: Sequence[str], bar: Meter, units: int | None = None) -> None:
        """Add up a table of counts over the chunks; in `units`, the sums become real numbers, rounded."""
        chunks = Stretches(self._files(name))

        def table(low: int, high: int) -> pa.Table:
            first, second, value = added_up(chunks.rows(low, high))
            counts = value if units is None else rounded(value / units)
            return pa.table(dict(zip(columns, (first, second, counts), strict=True)))

        self._stretches(name, table, STRETCH, ROW_GROUP, bar)

    def _per_domain(self, bar: Meter) -> None:
        """domains.parquet and parts.parquet."""
        domains = list(self.source.tokens)
        counts = [f"sum(above_{i})::BIGINT AS above_{i}" for i in range(len(self.config.thresholds))]
        sizes = " ".join(f"WHEN {i} THEN {self.source.tokens[d]}" for i, d in enumerate(domains))
        means = [
            f"sum({v})::DOUBLE / {UNITS} / (CASE domain {sizes} END) AS mean_{v}"
            for v in ("importance", "activation")
        ]

        def table(low: int, high: int) -> pa.Table:
            query = (
                f"SELECT part::INTEGER AS part, domain::INTEGER AS domain, {', '.join(counts + means)} "
                f"FROM {read_parquet(self._files('sums'))} WHERE part >= {low} AND part < {high} "
                "GROUP BY part, domain ORDER BY part, domain"
            )
            return self.database.sql(query).to_arrow_table()

        self._stretches("domains", table, STRETCH, ROW_GROUP, bar)
        totals = self.database.execute(
            f"SELECT sum({self.config.firing_column})::BIGINT FROM {read_parquet([self.staging / 'domains.parquet'])} "
            "GROUP BY part ORDER BY part"
        ).fetchnumpy()
        self.firings = np.asarray(next(iter(totals.values())), dtype=np.int64)
        columns = {
            "part": pa.array(np.arange(self.parts, dtype=np.int32)),
            "name": list(self.source.about.parts),
            "firings": pa.array(self.firings),
        }
        pq.write_table(pa.table(columns), self.staging / "parts.parquet", compression="zstd")

    def _vocabulary(self) -> None:
        weights = self.database.execute(
            f"SELECT token, sum(inputs)::BIGINT AS inputs, sum(outputs)::DOUBLE / {UNITS} AS outputs "
            f"FROM {read_parquet(self._files('marginals'))} GROUP BY token"
        ).fetchnumpy()
        texts = list(self.source.about.tokens)
        inputs, outputs = np.zeros(len(texts), np.int64), np.zeros(len(texts))
        inputs[weights["token"]], outputs[weights["token"]] = weights["inputs"], weights["outputs"]
        token = np.arange(len(texts), dtype=np.int32)
        columns = {"token": token, "text": texts, "inputs": inputs, "outputs": outputs}
        pq.write_table(pa.table(columns), self.staging / "vocabulary.parquet", compression="zstd")

    def _members(self) -> None:
        """members.parquet: of each component its subcomponents, the one that fires most first."""
        counts = self.database.sql(
            f'SELECT part::INTEGER AS part, "column", sum(firings)::BIGINT AS firings '
            f'FROM {read_parquet(self._files("members"))} GROUP BY ALL ORDER BY part, firings DESC, "column"'
        ).to_arrow_table()
        names = pa.array(self.source.about.columns).take(counts["column"])
        made = pa.table({"part": counts["part"], "name": names, "firings": counts["firings"]})
        pq.write_table(made, self.staging / "members.parquet", compression="zstd")

    def _neighbours(self) -> None:
        """neighbours.parquet: of each part the others it overlaps with most, most first."""
        cofiring = self.staging / "cofiring.parquet"

        def table(low: int, high: int) -> pa.Table:
            return nearest_neighbours(cofiring, self.firings, low, high)

        self._stretches("neighbours", table, NEIGHBOUR_STRETCH, ROW_GROUP)

    def _examples(self, bar: Meter) -> None:
        """examples.parquet: per part the windows with the smallest keys, in that order."""
        chunks = Stretches(self._files("examples"))

        def table(low: int, high: int) -> pa.Table:
            return sampled(chunks.rows(low, high), self.config.examples, 2 * self.config.window + 1)

        self._stretches("examples", table, STRETCH, EXAMPLE_ROW_GROUP, bar)

    def _text(self) -> None:
        """tokens.npy, all tokens by position, and rows.parquet, where each row begins and its domain."""
        kind = np.uint16 if len(self.source.about.tokens) <= 1 << 16 else np.int32
        tokens = np.lib.format.open_memmap(
            self.staging / "tokens.npy", mode="w+", dtype=kind, shape=(self.source.total,)
        )
        starts, domains = [], []
        for start, domain, lists in self._rows():
            sizes = np.diff(lists.offsets.to_numpy())
            before = np.repeat(np.cumsum(sizes) - sizes, sizes)
            tokens[np.repeat(start, sizes) + np.arange(len(before)) - before] = lists.flatten().to_numpy()
            starts.append(start)
            domains.append(domain)
        tokens.flush()
        start, domain = np.concatenate(starts), np.concatenate(domains)
        order = start.argsort()
        columns = {"start": start[order], "domain": domain[order]}
        pq.write_table(pa.table(columns), self.staging / "rows.parquet", compression="zstd")

    def _rows(self) -> Iterator[tuple[np.ndarray, np.ndarray, pa.ListArray]]:
        for file in self._files("rows"):
            for batch in pq.ParquetFile(file).iter_batches():
                yield batch["start"].to_numpy(), batch["domain"].to_numpy(), batch["tokens"]


def read_parquet(files: list[Path]) -> str:
    """The rows of Parquet files, for a FROM clause."""
    quoted = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
    return f"read_parquet([{quoted}])"


def added_up(table: pa.Table | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(first, second, sum) of a table of two numbers under 2^31 and a count, equal pairs added up; sorted."""
    if table is None:
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64)
    first, second, value = (column.to_numpy() for column in table.columns)
    key, value = (first.astype(np.int64) << 32) | second, value.astype(np.int64)
    if (key[1:] <= key[:-1]).any():
        order = key.argsort(kind="stable")
        key = key[order]
        starts = np.flatnonzero(np.diff(key, prepend=-1))
        key, value = key[starts], np.add.reduceat(value[order], starts)
    return (key >> 32).astype(np.int32), (key & 0xFFFFFFFF).astype(np.int32), value


def rounded(values: np.ndarray) -> np.ndarray:
    """Real numbers to SIGNIFICANT binary digits, half of 2^−10 of their size off at most, as fp32.

    The sums before are exact, so it does not matter in which order chunks come; what is left out would take a third of
    the table.
    """
    fraction, exponent = np.frexp(values)
    scale = 1 << SIGNIFICANT
    return np.ldexp(np.rint(fraction * scale) / scale, exponent).astype(np.float32)


def sampled(table: pa.Table | None, examples: int, width: int) -> pa.Table:
    """The windows with the smallest keys, at most `examples` of each part, numbered by `rank`."""
    if table is None:
        schema = [("part", pa.int32()), ("key", pa.int64()), ("position", pa.int64()), ("step", pa.float32())]
        windows = [(name, pa.binary(width)) for name in ("importances", "activations")]
        return sampled(pa.schema([*schema, *windows]).empty_table(), examples, width)
    part, key, position = (table[name].to_numpy() for name in ("part", "key", "position"))
    order = np.lexsort((position, key, part))
    part = part[order]
    rank = np.arange(len(order)) - np.searchsorted(part, part)
    kept = rank < examples
    chosen = table.combine_chunks().take(pa.array(order[kept]))
    columns = {"part": part[kept], "rank": rank[kept].astype(np.int32)}
    names = ("position", "step", "importances", "activations")
    return pa.table({**columns, **{name: chosen[name] for name in names}})
