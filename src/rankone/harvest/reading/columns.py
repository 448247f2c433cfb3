"""Rows of a harvest's tables as arrays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from rankone.core.schemas.stored import StoredTable
from rankone.harvest.counting.stretches import Stretches

# By name; those of `examples` that hold windows as [rows, width].
Columns = dict[str, np.ndarray]


def columns_of(stored: StoredTable, stretches: Stretches, low: int, high: int) -> Columns:
    """A table's rows of the parts from `low` up to, not including, `high`, under the names of today."""
    rows = stretches.rows(low, high)
    assert rows is not None
    named = stored.named(rows)
    return {name: _array(named[name]) for name in named.column_names}


def _array(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers as they are; binary values, all of one length, as bytes, [rows, width]."""
    if not (pa.types.is_fixed_size_binary(column.type) or pa.types.is_binary(column.type)):
        return column.to_numpy()
    values = column.to_pylist()
    return np.frombuffer(b"".join(values), np.uint8).reshape(len(values), len(values[0]) if values else 0)
