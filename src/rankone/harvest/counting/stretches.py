"""Reading a stretch of parts from Parquet tables, without the rest of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Files kept open between reads.
OPEN = 16


class Stretches:
    """The rows of files of one kind, by their first column: which row groups hold a stretch is known from the footers.

    Rows come file after file in the order in which they are stored; nothing needs to be sorted, but sorted files read less.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = [(file, pq.read_metadata(file)) for file in files]
        self._open: dict[int, pq.ParquetFile] = {}
        groups = [
            (number, group, *_range(footer.row_group(group)))
            for number, (_, footer) in enumerate(self._files)
            for group in range(footer.num_row_groups)
            if footer.row_group(group).num_rows
        ]
        self._file, self._group, self._first, self._last = np.array(groups, dtype=np.int64).reshape(-1, 4).T

    def rows(self, low: int, high: int) -> pa.Table | None:
        """The rows from `low` up to, not including, `high`; None where there are no files."""
        inside = (self._last >= low) & (self._first < high)
        tables = [
            self._read(number, self._group[inside & (self._file == number)].tolist())
            for number in np.unique(self._file[inside]).tolist()
        ]
        if not tables:
            return self._read(0, []) if self._files else None
        table = pa.concat_tables(tables)
        owner = table.column(0).to_numpy()
        wanted = np.flatnonzero((owner >= low) & (owner < high))
        if len(wanted) and wanted[-1] - wanted[0] + 1 != len(wanted):
            return table.combine_chunks().take(pa.array(wanted))
        return table.slice(int(wanted[0]) if len(wanted) else 0, len(wanted))

    def _read(self, number: int, groups: list[int]) -> pa.Table:
        if number not in self._open:
            if len(self._open) == OPEN:
                self._open.pop(next(iter(self._open))).close()
            path, metadata = self._files[number]
            self._open[number] = pq.ParquetFile(path, metadata=metadata)
        return self._open[number].read_row_groups(groups, use_threads=False)


def _range(group: pq.RowGroupMetaData) -> tuple[int, int]:
    statistics = group.column(0).statistics
    return statistics.min, statistics.max
