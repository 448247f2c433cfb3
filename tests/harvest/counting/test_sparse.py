"""Sums over firings against dense tables."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankone.harvest.counting import sparse
from rankone.harvest.counting.sparse import UNITS, Lists, cuts, ragged, tally, units


def random_case(seed, positions=40, parts=9, columns=15):
    """Who fires where (sorted by subcomponent), lists of columns with weights, and the dense table of sums."""
    generator = torch.Generator().manual_seed(seed)
    fires = torch.rand(parts, positions, generator=generator) < 0.3
    fires[3] = False
    length = torch.randint(0, 5, (positions,), generator=generator)
    column = torch.randint(0, columns, (int(length.sum()),), generator=generator)
    weight = torch.randint(1, 100, column.shape, generator=generator)
    first = length.cumsum(0) - length
    dense = torch.zeros(positions, columns, dtype=torch.long)
    for p in range(positions):
        for e in range(int(first[p]), int(first[p] + length[p])):
            dense[p, column[e]] += weight[e]
    part, position = fires.nonzero(as_tuple=True)
    return part, position, Lists(first, length, column, weight), fires.long() @ dense


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("bins", "terms"), [(1 << 18, 1 << 20), (30, 7), (1, 1)])
def test_tally_equals_the_dense_product(monkeypatch, seed, bins, terms):
    monkeypatch.setattr(sparse, "BINS", bins)
    monkeypatch.setattr(sparse.cuts, "__defaults__", (terms,))
    part, position, lists, dense = random_case(seed)
    found = torch.zeros_like(dense)
    keys = []
    for c, t, w in tally(part, position, lists):
        assert (w > 0).all()
        found[c, t] += w
        keys += (c * dense.shape[1] + t).tolist()
    assert torch.equal(found, dense)
    assert keys == sorted(set(keys))


def test_nothing_fires():
    empty = torch.zeros(0, dtype=torch.long)
    assert list(tally(empty, empty, Lists(empty, empty, empty, empty))) == []


def test_ragged_by_hand():
    owner, index = ragged(torch.tensor([5, 0, 9]), torch.tensor([2, 0, 3]))
    assert owner.tolist() == [0, 0, 2, 2, 2]
    assert index.tolist() == [5, 6, 9, 10, 11]


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 20))
def test_cuts_cover_everything_once(lengths, terms):
    parts = list(cuts(torch.tensor(lengths, dtype=torch.long), terms))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(len(lengths)))
    for part in parts:
        assert sum(lengths[part]) <= terms + 9


def test_units_round_to_the_nearest():
    assert units(torch.tensor([0.0, 1.0, 0.6 / UNITS, -2.4 / UNITS])).tolist() == [0, UNITS, 1, -2]


def test_shards_of_other_versions_add_up():
    """What is stored counts in 2⁻²⁴: another unit would add apples to pears."""
    assert units(torch.tensor([1.0, 2.0**-24])).tolist() == [1 << 24, 1]
