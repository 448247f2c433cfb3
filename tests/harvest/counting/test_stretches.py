"""Rows of a stretch of subcomponents, from one file or several, sorted or not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rankone.harvest.counting import stretches
from rankone.harvest.counting.stretches import Stretches


def written(path, part, rows=3):
    columns = {"part": np.array(part, np.int32), "place": np.arange(len(part))}
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_every_stretch_of_sorted_and_mixed_files(tmp_path, monkeypatch, rows):
    one, two = [0, 0, 2, 2, 2, 5, 9], [7, 1, 2, 8, 0, 2, 5, 5]
    files = [written(tmp_path / "1", one, rows), written(tmp_path / "2", two, rows)]
    monkeypatch.setattr(stretches, "OPEN", 1)
    found = Stretches(files)
    for low in range(11):
        for high in range(low, 11):
            wanted = [(c, i) for part in (one, two) for i, c in enumerate(part) if low <= c < high]
            table = found.rows(low, high)
            assert list(zip(*(column.to_pylist() for column in table.columns), strict=True)) == wanted


def test_no_files_and_no_rows(tmp_path):
    assert Stretches([]).rows(0, 5) is None
    empty = Stretches([written(tmp_path / "1", [])]).rows(0, 5)
    assert empty.column_names == ["part", "place"]
    assert len(empty) == 0
