"""Groups while they are merged, against the OR of matrix columns."""

from __future__ import annotations

import numpy as np
import pytest
from tests.clustering.planted import random_fires, sample_of

from rankone.clustering import groups as module
from rankone.clustering.groups import Groups


def expect(groups, columns):
    """Compare everything with the columns {slot: firing positions as booleans}."""
    assert groups.alive().tolist() == sorted(columns)
    for slot, own in columns.items():
        assert groups.sizes[slot] == own.sum()
        expected = [
            (own & columns[other]).sum() if other in columns and other != slot else 0
            for other in range(groups.slots)
        ]
        assert groups.joint(slot).tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_merges_and_compaction_keep_all_counts(seed):
    rng = np.random.default_rng(seed)
    fires = random_fires(rng, 60, 16)
    sample = sample_of(fires)
    groups = Groups(sample.position, sample.unit, 16)
    columns = dict(enumerate(fires.T))
    firsts = {slot: slot for slot in columns}
    expect(groups, columns)
    while len(columns) > 1:
        i, j = sorted(rng.choice(sorted(columns), 2, replace=False).tolist())
        groups.merge(i, j)
        columns[i] = columns[i] | columns.pop(j)
        del firsts[j]
        if rng.random() < 0.3:
            groups.compact()
            columns = dict(enumerate(columns[slot] for slot in sorted(columns)))
            firsts = dict(enumerate(firsts[slot] for slot in sorted(firsts)))
            assert groups.slots == len(columns)
        expect(groups, columns)
        assert {slot: groups.first[slot] for slot in columns} == firsts
    assert groups.members.sum() == 16


def test_a_merge_counts_in_short_pieces(monkeypatch):
    """Joint firings over more positions than are laid out at once."""
    monkeypatch.setattr(module, "cuts", lambda length: (slice(i, i + 1) for i in range(len(length))))
    fires = np.ones((30, 3), dtype=bool)
    fires[:10, 2] = False
    sample = sample_of(fires)
    groups = Groups(sample.position, sample.unit, 3)
    groups.merge(0, 1)
    expect(groups, {0: fires[:, 0], 2: fires[:, 2]})


def test_the_table_of_pairs_is_as_narrow_as_the_positions_allow():
    for positions, width in ((200, 1), (300, 2), (70_000, 4)):
        position = np.arange(positions, dtype=np.int32).repeat(2)
        unit = np.tile(np.array([0, 1], dtype=np.int32), positions)
        groups = Groups(position, unit, 2)
        assert groups._joint.itemsize == width
        assert groups.joint(0).tolist() == [0, positions]
