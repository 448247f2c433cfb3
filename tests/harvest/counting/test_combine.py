"""Adding up, sampling and neighbours, against counts by hand and by brute force."""

from __future__ import annotations

from collections import Counter

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rankone.harvest.counting import neighbours
from rankone.harvest.counting.chunks import table_writer
from rankone.harvest.counting.combine import added_up, rounded, sampled
from rankone.harvest.counting.neighbours import nearest_neighbours


@pytest.mark.parametrize("runs", [1, 4])
def test_equal_pairs_are_added_up(runs):
    random = np.random.default_rng(runs)
    parts = [np.unique(random.integers(0, [5, 1 << 30], (40, 2)), axis=0) for _ in range(runs)]
    pairs = np.concatenate([*parts, parts[0]] if runs > 1 else parts)
    weight = random.integers(1, 1 << 40, len(pairs))
    table = pa.table({"a": pairs[:, 0].astype(np.int32), "b": pairs[:, 1].astype(np.int32), "w": weight})
    wanted = Counter()
    for (a, b), w in zip(pairs.tolist(), weight.tolist(), strict=True):
        wanted[a, b] += w
    first, second, value = added_up(table)
    found = list(zip(zip(first.tolist(), second.tolist(), strict=True), value.tolist(), strict=True))
    assert found == sorted(wanted.items())
    assert [len(column) for column in added_up(None)] == [0, 0, 0]


def test_the_smallest_keys_are_sampled():
    window = pa.array([bytes([i] * 3) for i in range(5)], pa.binary(3))
    columns = {
        "part": np.array([4, 1, 4, 4, 1], np.int32),
        "key": [9, 5, 2, 2, 1],
        "position": [0, 1, 8, 3, 4],
    }
    table = pa.table(
        {**columns, "step": np.arange(5, dtype=np.float32), "importances": window, "activations": window}
    )
    found = sampled(table, 2, 3).to_pydict()
    assert (found["part"], found["rank"], found["position"]) == (
        [1, 1, 4, 4],
        [0, 1, 0, 1],
        [4, 1, 3, 8],
    )
    assert found["importances"] == [bytes([i] * 3) for i in (4, 1, 3, 2)]
    assert len(sampled(None, 2, 3)) == 0


def test_neighbours_are_the_largest_overlaps(tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "NEIGHBOURS", 3)
    random = np.random.default_rng(0)
    fires = random.random((60, 12)) < random.random(12)
    joint, firings = fires.T.astype(int) @ fires, fires.sum(0)
    first, second = np.nonzero(np.triu(joint, 1))
    columns = {
        "first": first.astype(np.int32),
        "second": second.astype(np.int32),
        "joint": joint[first, second],
    }
    pq.write_table(pa.table(columns), tmp_path / "pairs", row_group_size=7)
    for low, high in ((0, 12), (4, 9)):
        found = nearest_neighbours(tmp_path / "pairs", firings, low, high).to_pylist()
        wanted = []
        for c in range(low, high):
            share = {
                o: joint[c, o] / (firings[c] + firings[o] - joint[c, o])
                for o in range(12)
                if o != c and joint[c, o]
            }
            wanted += [
                (c, o, joint[c, o]) for o in sorted(share, key=lambda o: (-np.float32(share[o]), o))[:3]
            ]
        assert [(r["part"], r["other"], r["joint"]) for r in found] == wanted


def test_masses_keep_eleven_binary_digits():
    # 1 + 2^-10 is the next number after 1; 2^-11 lies half way and goes to the even one.
    assert rounded(np.array([0, 1, 1 + 2**-10, 1 + 2**-11, 1 + 3 * 2**-12, 3e6])).tolist() == [
        0,
        1,
        1 + 2**-10,
        1,
        1 + 2**-10,
        3000320,
    ]
    values = 2.0 ** np.random.default_rng(0).uniform(-24, 30, 1000)
    error = np.abs(rounded(values) / values - 1)
    assert 2**-13 < error.max() <= 2**-11


def test_counts_are_exact_and_small(tmp_path):
    """One large count among small ones makes the others no larger; a wide range of counts is read back as it was."""
    random = np.random.default_rng(0)
    counts = np.where(random.random(20_000) < 0.02, random.integers(0, 1 << 40, 20_000), 1)
    columns = {"part": np.zeros(20_000, np.int32), "token": np.arange(20_000, dtype=np.int32)}
    sizes = {}
    for name in ("weight", "other"):
        made = pa.table({**columns, name: counts})
        with table_writer(tmp_path / name, made.schema) as writer:
            writer.write_table(made)
        assert pq.read_table(tmp_path / name).equals(made)
        query = f"SELECT sum({name})::BIGINT FROM read_parquet('{tmp_path / name}')"
        assert duckdb.connect().execute(query).fetchall() == [(int(counts.sum()),)]
        sizes[name] = (tmp_path / name).stat().st_size
    assert 2 * sizes["weight"] < sizes["other"]
