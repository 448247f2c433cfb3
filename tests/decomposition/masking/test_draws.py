"""Draws belong to rows: the same in any grouping, different for every row, step, purpose and pass."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rankone.decomposition.masking.draws import PURPOSES, RowDraws, by_hash, draw_pass
from rankone.decomposition.masking.levels import LEVELS
from rankone.decomposition.masking.routing import ROUTINGS
from rankone.runtime.hashing import mixed

CPU = torch.device("cpu")
SHAPE = (5, 30, 4)
either = pytest.mark.parametrize("hashed", [False, True])


def drawn(rows, step=3, seed=0, index=0, routing="subset", sources="corners", hashed=False):
    draws = RowDraws(seed, CPU, step, hashed)
    return draw_pass(draws, rows, index, SHAPE, routing, sources)


@pytest.mark.parametrize("routing", sorted(ROUTINGS))
@pytest.mark.parametrize("sources", sorted(LEVELS))
@either
def test_rows_draw_the_same_in_any_grouping(routing, sources, hashed):
    whole = drawn(range(6), routing=routing, sources=sources, hashed=hashed)
    for first, stop in ((0, 2), (2, 3), (3, 6)):
        part = drawn(range(first, stop), routing=routing, sources=sources, hashed=hashed)
        for ours, theirs in zip(part, whole, strict=True):
            assert (ours is None) == (theirs is None)
            assert ours is None or torch.equal(ours, theirs[first:stop])


@either
def test_no_two_rows_steps_seeds_or_passes_draw_the_same(hashed):
    noises = [drawn(range(8), hashed=hashed).noise.unbind(0)]
    noises += [
        drawn(range(8), **{name: 7}, hashed=hashed).noise.unbind(0) for name in ("step", "seed", "index")
    ]
    flat = [n.flatten().float() for group in noises for n in group]
    similar = torch.corrcoef(torch.stack(flat)) - torch.eye(len(flat))
    # 150 bytes each: chance correlations have a standard deviation of .08.
    assert similar.abs().max() < 0.5


@either
def test_purposes_are_apart(hashed):
    draws = RowDraws(0, CPU, hashed=hashed)
    values = [draws.uniform(range(3), purpose, (1, 50)) for purpose in PURPOSES]
    assert len(torch.cat(values).unique()) > 0.99 * 3 * 50 * len(PURPOSES)


@either
def test_they_are_uniform(hashed):
    found = drawn(range(400), hashed=hashed)
    assert found.noise.float().mean().item() == pytest.approx(127.5, abs=1.5)
    assert found.delta.mean().item() == pytest.approx(0.5, abs=0.02)
    # The first number of every row, where a weak seeding would show.
    assert found.delta[:, 0, 0].mean().item() == pytest.approx(0.5, abs=0.06)
    assert found.delta[:, 0, 0].std().item() == pytest.approx(12**-0.5, abs=0.03)


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=5), st.integers(0, 4), st.integers(1, 100))
def test_a_seed_depends_on_every_number(numbers, at, change):
    other = list(numbers)
    other[at % len(numbers)] += change
    assert mixed(*numbers) != mixed(*other)
    assert 0 <= mixed(*numbers) < 1 << 63


def test_the_start_is_not_the_first_step():
    start, first = (RowDraws(0, CPU, step).uniform(range(2), "start", (1, 40)) for step in (-1, 0))
    assert not torch.equal(start, first)


def test_they_are_hashed_wherever_a_draw_is_a_launch():
    assert not RowDraws(0, CPU).hashed
    assert RowDraws(0, CPU, hashed=True).at(3).hashed
    assert by_hash(torch.device("cuda"))
    assert by_hash(torch.device("mps"))
