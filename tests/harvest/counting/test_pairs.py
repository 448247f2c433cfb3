"""Joint firings against the dense product."""

from __future__ import annotations

import pytest
import torch

from rankone.harvest.counting import pairs
from rankone.harvest.counting.pairs import joint_counts


def fires(seed, positions=50, parts=12):
    """Subcomponents from always to never firing, at positions some of which are empty."""
    generator = torch.Generator().manual_seed(seed)
    density = torch.linspace(1, 0, parts)[torch.randperm(parts, generator=generator)]
    found = torch.rand(positions, parts, generator=generator) < density
    found[7] = False
    found[20:30] = False
    return found


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("often", [0.0, 1 / 16, 0.5, 2.0])
@pytest.mark.parametrize(("stripe", "stretch"), [(1024, 8192), (5, 8), (1, 1)])
def test_counts_equal_the_dense_product(monkeypatch, seed, often, stripe, stretch):
    """However the table is cut, and whichever pairs are counted by the product."""
    monkeypatch.setattr(pairs, "OFTEN", often)
    monkeypatch.setattr(pairs, "STRIPE", stripe)
    monkeypatch.setattr(pairs, "STRETCH", stretch)
    found = fires(seed)
    dense = (found.T.long() @ found.long()).triu(1)
    table = torch.zeros_like(dense)
    keys = []
    for first, second, joint in joint_counts(*found.nonzero(as_tuple=True)):
        assert (first < second).all()
        assert (joint > 0).all()
        table[first, second] += joint
        keys += (first * len(dense) + second).tolist()
    assert torch.equal(table, dense)
    assert keys == sorted(set(keys))


def test_numbers_are_kept_and_nothing_is_made_up():
    position, part = torch.tensor([0, 0, 0, 5, 5]), torch.tensor([7, 90, 1000, 7, 1000])
    (found,) = joint_counts(position, part)
    rows = [tuple(row) for row in torch.stack(found, 1).tolist()]
    assert rows == [(7, 90, 1), (7, 1000, 2), (90, 1000, 1)]
    empty = torch.zeros(0, dtype=torch.long)
    assert list(joint_counts(empty, empty)) == []


def test_what_fires_at_the_first_position_alone_is_counted():
    ((first, second, joint),) = joint_counts(torch.zeros(2, dtype=torch.long), torch.tensor([3, 5]))
    assert (first.tolist(), second.tolist(), joint.tolist()) == ([3], [5], [1])
