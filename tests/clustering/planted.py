"""Samples made by hand: binary matrices, and clusters planted in one."""

from __future__ import annotations

import numpy as np

from rankone.clustering.sample import Sample


def sample_of(fires):
    """A sample from a boolean matrix [positions, subcomponents]; all positions are of one domain."""
    fires = np.asarray(fires, dtype=bool)
    position, unit = (a.astype(np.int32) for a in fires.nonzero())
    names = [f"h.0.mlp.c_fc:{i}" for i in range(fires.shape[1])]
    return Sample(names, ("en",), np.zeros(len(fires), dtype=np.int32), position, unit)


def random_fires(rng, positions, units, density=0.3):
    """Independent firings of different frequencies; every subcomponent fires at least once."""
    fires = rng.random((positions, units)) < rng.uniform(0.05, 2 * density, units)
    fires[rng.integers(0, positions, units), np.arange(units)] = True
    return fires


def planted_fires(rng, positions, sizes, misses=0.02, density=0.1):
    """Clusters of the given sizes: members fire with their cluster but for a few misses. Returns (fires, cluster)."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    active = rng.random((positions, len(sizes))) < density
    return active[:, cluster] & (rng.random((positions, len(cluster))) > misses), cluster


def length_by_definition(fires, group, rank_penalty):
    """L of a partition, literally: OR of the members, log2 of the number of groups, ρ per member."""
    names = sorted(set(group.tolist()))
    total = 0.0
    for name in names:
        own = fires[:, group == name]
        total += own.any(1).sum() * (np.log2(len(names)) + rank_penalty * own.shape[1])
    return total


def same_partition(a, b):
    """Whether two labellings group alike."""
    a, b = np.asarray(a), np.asarray(b)
    return bool(((a[:, None] == a) == (b[:, None] == b)).all())
