"""The parts that each fires with most, by hand: from both sides of a pair, the first and the last part too."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rankone.harvest.counting.neighbours import nearest_neighbours


@pytest.fixture
def cofiring(tmp_path):
    pairs = pa.table({"first": [0, 0, 1], "second": [1, 2, 2], "joint": [2, 1, 3]})
    pq.write_table(pairs, tmp_path / "cofiring.parquet")
    return tmp_path / "cofiring.parquet"


def test_each_part_has_its_own_largest_overlap_first(cofiring):
    found = nearest_neighbours(cofiring, np.array([4, 4, 6]), 0, 3).to_pydict()
    # Overlaps: 0 and 1 2/6, 0 and 2 1/9, 1 and 2 3/7.
    assert list(zip(found["part"], found["other"], strict=True)) == [
        (0, 1), (0, 2), (1, 2), (1, 0), (2, 1), (2, 0),
    ]  # fmt: skip
    assert found["joint"] == [2, 1, 3, 2, 3, 1]
    assert found["jaccard"] == pytest.approx([2 / 6, 1 / 9, 3 / 7, 2 / 6, 3 / 7, 1 / 9])
    assert nearest_neighbours(cofiring, np.array([4, 4, 6]), 1, 2).to_pydict()["other"] == [2, 0]
