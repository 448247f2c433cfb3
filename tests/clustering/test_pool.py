"""The pool's pair of any rank, against sorting all pairs after every merge."""

from __future__ import annotations

import numpy as np
import pytest
from tests.clustering.planted import random_fires, sample_of

from rankone.clustering import pool as module
from rankone.clustering.description import cost, fixed_cost
from rankone.clustering.groups import Groups
from rankone.clustering.pool import Pool


def all_pairs(groups, rank_penalty, count):
    """All pairs in order, by brute force."""
    alive = groups.alive().tolist()
    pairs = []
    for i in alive:
        row = groups.joint(i)
        for j in alive:
            if i < j:
                ends = [[i, j]]
                sizes, members = groups.sizes[ends], groups.members[ends]
                fixed = float(fixed_cost(tuple(sizes[0]), tuple(members[0]), row[j], rank_penalty))
                pairs.append((cost(fixed, int(row[j]), count), i, j))
    return sorted(pairs)


@pytest.mark.parametrize(("positions", "rank_penalty"), [(8, 1.0), (12, 3.0), (80, 0.2), (80, 3.0)])
@pytest.mark.parametrize("seed", range(6))
def test_the_pair_of_a_rank_is_right_after_every_merge(seed, positions, rank_penalty, monkeypatch):
    """Few positions make many ties; stripes of some rows; a pool of 8, 20 or 60 ages between looks at all pairs."""
    monkeypatch.setattr(module, "STRIPE_CELLS", 60)
    rng = np.random.default_rng(seed)
    sample = sample_of(random_fires(rng, positions, 30, 0.15))
    groups = Groups(sample.position, sample.unit, 30)
    size = (8, 20, 60)[seed % 3]
    pool = Pool(groups, rank_penalty, size)
    looks = []
    look = pool._look
    monkeypatch.setattr(pool, "_look", lambda count: (looks.append(count), look(count)))
    for count in range(30, 1, -1):
        expected = all_pairs(groups, rank_penalty, count)
        for rank in (0, int(rng.integers(0, size // 2))):
            rank = min(rank, len(expected) - 1)
            pair = pool.take(rank, count)
            assert (pair.first, pair.second) == expected[rank][1:]
        groups.merge(pair.first, pair.second)
        if count == 14:
            groups.compact()
            pool.renumbered()
        elif count > 2:
            pool.merged(pair.first, pair.second, count - 1)
    assert 1 < len(looks) < 29


def test_a_large_pool_looks_once(monkeypatch):
    """It then holds all pairs, so nothing but the new group's pairs is ever computed."""
    sample = sample_of(random_fires(np.random.default_rng(0), 50, 20))
    groups = Groups(sample.position, sample.unit, 20)
    pool = Pool(groups, 3.0)
    for count in range(20, 2, -1):
        expected = all_pairs(groups, 3.0, count)
        pair = pool.take(len(expected) // 2, count)
        assert (pair.first, pair.second) == expected[len(expected) // 2][1:]
        groups.merge(pair.first, pair.second)
        pool.merged(pair.first, pair.second, count - 1)
        monkeypatch.setattr(pool, "_look", None)


def test_a_new_pair_of_the_bounds_own_cost_is_not_missed():
    """Units 2 and 3 fire together, the rest alone; with ρ = 0 all other pairs cost nothing, before and after.

    The pool of five is (2, 3), (0, 1), (0, 2), (0, 3), (0, 4). When 2 and 3 are one, (0, 2) comes before (0, 4).
    """
    fires = np.eye(6, dtype=bool)
    fires[2, 3] = True
    sample = sample_of(fires)
    groups = Groups(sample.position, sample.unit, 6)
    pool = Pool(groups, 0.0, size=5)
    pair = pool.take(0, 6)
    assert (pair.first, pair.second, pair.joint) == (2, 3, 1)
    groups.merge(2, 3)
    pool.merged(2, 3, 5)
    assert [(p.first, p.second) for p in (pool.take(rank, 5) for rank in range(3))] == [
        (0, 1),
        (0, 2),
        (0, 4),
    ]
