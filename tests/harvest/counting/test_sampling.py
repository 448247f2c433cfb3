"""Keys are uniform and independent, and what they choose is a uniform sample however it is cut up."""

from __future__ import annotations

import numpy as np
import torch

from rankone.harvest.counting.sampling import KEY_BITS, Bounds, firing_keys

# 99.9% points of the chi-square distribution.
CRITICAL = {15: 37.697, 63: 103.442, 99: 148.230}


def chi_square(observed, expected):
    return float(((observed - expected) ** 2 / expected).sum())


def keys(seed, positions, parts):
    position = torch.arange(positions).repeat_interleave(parts)
    part = torch.arange(parts).repeat(positions)
    return firing_keys(seed, position, part).view(positions, parts)


def test_keys_by_hand():
    """SplitMix64's finaliser of position and seed, then of that and the part, in whole numbers of Python."""
    word, golden = (1 << 64) - 1, 0x9E3779B97F4A7C15

    def finalised(z):
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & word
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & word
        return z ^ (z >> 31)

    seed, positions, parts = 7, [0, 1, 12_345], [0, 5, 999]
    seeded = [finalised((position + golden * (seed + 1)) & word) for position in positions]
    expected = [
        finalised((state + part * golden) & word) >> (64 - KEY_BITS)
        for state, part in zip(seeded, parts, strict=True)
    ]
    assert firing_keys(seed, torch.tensor(positions), torch.tensor(parts)).tolist() == expected


def test_keys_are_uniform():
    found = keys(0, 2000, 32)
    assert int(found.min()) >= 0
    assert int(found.max()) < 1 << KEY_BITS
    for bits in (found >> (KEY_BITS - 6), found & 63):
        counts = bits.flatten().bincount(minlength=64).numpy()
        assert chi_square(counts, found.numel() / 64) < CRITICAL[63]


def test_keys_of_neighbours_are_independent():
    """Two bits of a key and of the key of the next position, subcomponent or seed fall into 16 cells alike."""
    top = keys(0, 2000, 32) >> (KEY_BITS - 2)
    other = keys(1, 2000, 32) >> (KEY_BITS - 2)
    for a, b in ((top[:-1], top[1:]), (top[:, :-1], top[:, 1:]), (top, other)):
        counts = (a * 4 + b).flatten().bincount(minlength=16).numpy()
        assert chi_square(counts, a.numel() / 16) < CRITICAL[15]


def test_every_firing_is_as_likely_as_any_other():
    """100 firings, 10 are kept, over 400 seeds: each 40 times, up to chance."""
    position, part = torch.arange(100), torch.zeros(100, dtype=torch.long)
    kept = np.zeros(100)
    for seed in range(400):
        kept[firing_keys(seed, position, part).argsort()[:10].numpy()] += 1
    # Without replacement the counts vary less than those of a multinomial, by the factor (1 - 10/100).
    assert chi_square(kept, 40) / 0.9 < CRITICAL[99]


def test_bounds_admit_what_belongs_to_the_sample():
    """The smallest keys of all are admitted in any order of arrival, and in the end nothing else would be."""
    generator = torch.Generator().manual_seed(1)
    part = torch.randint(0, 5, (2000,), generator=generator)
    key = firing_keys(3, torch.arange(2000), part)
    bounds = Bounds(6, 20)
    admitted = torch.zeros(2000, dtype=torch.bool)
    for piece in torch.randperm(2000, generator=generator).split(130):
        fine = piece[bounds.admits(part[piece], key[piece])]
        admitted[fine] = True
        bounds.tighten(part[fine].numpy(), key[fine].numpy())
    for c in range(5):
        own = (part == c).nonzero().squeeze(1)
        sample = own[key[own].argsort()[:20]]
        assert admitted[sample].all()
        assert set(own[bounds.admits(part[own], key[own])].tolist()) == set(sample.tolist())
    assert admitted.sum() < 1000
    assert bounds.admits(torch.tensor([5]), torch.tensor([(1 << KEY_BITS) - 1])).all()


def test_no_examples_admit_nothing():
    one = Bounds(2, 1)
    assert one.admits(torch.tensor([0, 1]), torch.tensor([0, 5])).all()
    assert not Bounds(2, 0).admits(torch.tensor([0, 1]), torch.tensor([0, 5])).any()
