"""Merging: brute force, planted clusters, and what it must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.clustering.planted import (
    length_by_definition,
    planted_fires,
    random_fires,
    same_partition,
    sample_of,
)

from rankone.clustering import merging
from rankone.clustering.distance import distance
from rankone.clustering.merging import Merges, draw_rank, merge_all


def partitions(n):
    """All partitions of n things as labels."""
    found = [[0]]
    for _ in range(n - 1):
        found = [[*p, g] for p in found for g in range(max(p) + 2)]
    return [np.array(p) for p in found]


def merge_by_definition(fires, rank_penalty, gamma, seed):
    """The same from the definition: L of every possible merge anew, sorted, down to one group."""
    rng = np.random.default_rng(seed)
    group = np.arange(fires.shape[1])
    lengths, groups = [length_by_definition(fires, group, rank_penalty)], [group]
    while len(names := np.unique(group)) > 1:
        after = [
            (round(length_by_definition(fires, np.where(group == j, i, group), rank_penalty), 6), i, j)
            for i in names
            for j in names
            if i < j
        ]
        u, pairs = rng.random(), len(after)
        rank = 0 if gamma is None else math.floor(-math.log(1 - u * (1 - math.exp(-gamma * pairs))) / gamma)
        _, i, j = sorted(after)[rank]
        group = np.where(group == j, i, group)
        lengths.append(length_by_definition(fires, group, rank_penalty))
        groups.append(group)
    return lengths, groups


@pytest.mark.parametrize("gamma", [None, 0.2, 0.01])
@pytest.mark.parametrize("seed", range(3))
def test_every_step_is_that_of_the_definition(seed, gamma, monkeypatch):
    monkeypatch.setattr(merging, "POOL", 10)
    fires = planted_fires(np.random.default_rng(seed), 60, [3, 3, 2, 1, 1], 0.1, 0.3)[0]
    fires[0] = True
    lengths, groups = merge_by_definition(fires, 2.0, gamma, seed)
    found = merge_all(sample_of(fires), 2.0, gamma, seed)
    steps = len(found.first)
    assert found.bits == pytest.approx(lengths[: steps + 1])
    for step in range(steps + 1):
        assert same_partition(found.groups(step), groups[step])
    assert found.bits[found.best] == pytest.approx(min(lengths))


def test_it_stops_early_and_misses_nothing():
    """Where it stops, ρ R alone reaches the least length: the rest of the way is longer for sure."""
    fires = random_fires(np.random.default_rng(1), 80, 14)
    found = merge_all(sample_of(fires), 10.0, None, 0)
    lengths, _ = merge_by_definition(fires, 10.0, None, 0)
    assert len(found.first) < 13
    assert min(lengths[len(found.first) :]) >= found.bits.min()


@pytest.mark.parametrize("seed", range(4))
def test_the_greedy_partition_against_all_partitions(seed):
    """On six subcomponents with two clear clusters, greedy finds the best of all 203 partitions."""
    fires, _ = planted_fires(np.random.default_rng(seed), 300, [3, 2, 1], 0.05, 0.2)
    best = min(length_by_definition(fires, p, 0.5) for p in partitions(6))
    assert len(partitions(6)) == 203
    assert merge_all(sample_of(fires), 0.5, None, 0).bits.min() == pytest.approx(best)


def planted():
    """Five clusters of 3 to 8 members and 30 single subcomponents: (fires, cluster)."""
    return planted_fires(np.random.default_rng(0), 2000, [8, 6, 5, 4, 3, *[1] * 30])


@pytest.mark.parametrize("gamma", [None, 3.0])
def test_planted_clusters_are_recovered(gamma):
    fires, cluster = planted()
    found = merge_all(sample_of(fires), 3.0, gamma, 1)
    assert same_partition(found.groups(), cluster)
    assert found.best == 26 - 5


def test_soft_draws_recover_nearly_all():
    """When few good pairs are left, a soft draw now and then misses them: its partition is close, not equal."""
    fires, cluster = planted()
    found = merge_all(sample_of(fires), 3.0, 0.2, 1)
    lists = [
        [[str(u) for u in np.flatnonzero(g == x)] for x in np.unique(g)] for g in (found.groups(), cluster)
    ]
    assert 0.9 < distance(*lists).rand < 1


def test_independent_ones_stay_apart():
    fires = np.random.default_rng(0).random((1000, 30)) < 0.1
    found = merge_all(sample_of(fires), 10.0, None, 0)
    assert found.best == 0
    assert same_partition(found.groups(), np.arange(30))


def test_without_a_price_for_members_all_become_one():
    fires = random_fires(np.random.default_rng(2), 50, 9)
    found = merge_all(sample_of(fires), 0.0, 0.2, 0)
    assert found.bits[-1] == 0
    assert same_partition(found.groups(), np.zeros(9))


def test_the_order_of_subcomponents_and_positions_does_not_matter():
    rng = np.random.default_rng(5)
    fires, _ = planted_fires(rng, 1500, [5, 4, 3, 1, 1, 1], 0.1, 0.15)
    order = rng.permutation(fires.shape[1])
    plain = merge_all(sample_of(fires), 3.0, None, 0)
    mixed = merge_all(sample_of(fires[rng.permutation(1500)][:, order]), 3.0, None, 0)
    assert mixed.bits == pytest.approx(plain.bits)
    assert same_partition(mixed.groups(), plain.groups()[order])


def test_the_seed_decides_the_draws():
    fires = random_fires(np.random.default_rng(3), 200, 25)
    runs = [merge_all(sample_of(fires), 0.5, 0.05, seed) for seed in (0, 0, 1)]
    assert (runs[0].first == runs[1].first).all()
    assert not np.array_equal(runs[0].first, runs[2].first)


def test_ranks_are_drawn_geometrically():
    """P(J) ∝ exp(−γ J) over N pairs: compared with 40,000 draws on an even grid of u."""
    gamma, pairs = 0.3, 12
    drawn = np.bincount([draw_rank((i + 0.5) / 40_000, pairs, gamma) for i in range(40_000)], minlength=pairs)
    expected = np.exp(-gamma * np.arange(pairs))
    assert len(drawn) == pairs
    assert drawn / 40_000 == pytest.approx(expected / expected.sum(), abs=5e-5)


def test_the_extreme_draws_stay_within_the_pairs_and_the_pool():
    last = math.nextafter(1.0, 0.0)
    assert draw_rank(0.0, 1, 0.2) == draw_rank(last, 1, 0.2) == 0
    assert draw_rank(last, 50, 0.2) == 49
    for gamma in (1e-3, 0.2, 5.0):
        assert draw_rank(last, 10**9, gamma) < max(merging.POOL, merging.LARGEST_EXPONENT / gamma)
    assert draw_rank(last, 50, None) == 0


def test_a_way_can_be_cut_anywhere():
    merges = Merges(5, np.array([1, 0, 0]), np.array([3, 2, 1]), np.array([9.0, 7.0, 6.0, 6.0]))
    assert merges.best == 2
    assert merges.groups(0).tolist() == [0, 1, 2, 3, 4]
    assert merges.groups(1).tolist() == [0, 1, 2, 1, 4]
    assert merges.groups().tolist() == [0, 1, 0, 1, 4]
    assert merges.groups(3).tolist() == [0, 0, 0, 0, 4]
