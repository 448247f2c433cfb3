"""A Parquet table of an artefact, read under the names of today whichever version wrote it."""

# pyarrow has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

R = TypeVar("R")


@dataclass(frozen=True)
class StoredTable:
    """One file. columns: of those that are called otherwise today, the name in the file → the name of today."""

    path: Path
    columns: Mapping[str, str]

    def named(self, table: pa.Table) -> pa.Table:
        """Rows of the file, their columns under the names of today."""
        return table.rename_columns([self.columns.get(name, name) for name in table.column_names])

    def names(self) -> list[str]:
        """The columns' names of today, in the file's order."""
        import pyarrow.parquet as pq

        return [self.columns.get(name, name) for name in pq.read_schema(self.path).names]

    def column(self, name: str) -> list[str]:
        """One column of words, by its name of today."""
        return self._column(name).to_pylist()

    def array(self, name: str) -> np.ndarray:
        """One column of numbers, by its name of today, [rows]."""
        return self._column(name).to_numpy()

    def records(self, kind: Callable[..., R]) -> list[R]:
        """Every row as one of a kind, whose fields are called as the columns."""
        return [kind(**row) for row in self.read().to_pylist()]

    def _column(self, name: str) -> pa.ChunkedArray:
        import pyarrow.parquet as pq

        stored = next((old for old, today in self.columns.items() if today == name), name)
        return pq.read_table(self.path, columns=[stored])[stored]

    def read(self) -> pa.Table:
        """All rows."""
        import pyarrow.parquet as pq

        return self.named(pq.read_table(self.path))
