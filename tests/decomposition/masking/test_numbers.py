"""Numbers of a generator and hashed ones: in range, uniform, and hashed ones a row's own."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.masking.numbers import Generated, Hashed
from rankone.runtime.hashing import mixed, mixed_each

ROWS = 64


def hashed(rows=range(ROWS)):
    return Hashed(mixed_each(3, 1, last=torch.tensor(list(rows))))


SOURCES = {"generated": lambda: Generated(torch.Generator().manual_seed(0), ROWS), "hashed": hashed}
each = pytest.mark.parametrize("source", SOURCES.values(), ids=list(SOURCES))


def level(counts):
    """Whether every count is within five standard deviations of its share."""
    expected = counts.sum() / len(counts)
    return bool(((counts - expected).abs() < 5 * expected.sqrt()).all())


@each
def test_shapes_and_types(source):
    numbers = source()
    assert numbers.uniform(5, 2).shape == numbers.integers(0, 3, 5, 2).shape == (ROWS, 5, 2)
    assert numbers.uniform(1, 1).dtype == torch.float32
    drawn = numbers.bytes(3, 7)
    assert drawn.shape == (ROWS, 3, 7)
    assert drawn.dtype == torch.uint8


@each
def test_every_number_is_as_likely(source):
    numbers = source()
    fractions = numbers.uniform(1000)
    assert fractions.min() >= 0
    assert fractions.max() < 1
    assert level(torch.histc(fractions, 50, 0, 1))
    assert level(torch.bincount(numbers.integers(2, 9, 1000).flatten())[2:].float())
    assert level(torch.bincount(numbers.bytes(1001).flatten().int(), minlength=256).float())


@each
def test_calls_go_on_and_neighbours_differ(source):
    numbers = source()
    drawn = torch.cat([numbers.uniform(100), numbers.uniform(100)], 1).flatten()
    assert len(drawn.unique()) > 0.99 * len(drawn)
    similar = torch.corrcoef(torch.cat([numbers.bytes(400), numbers.bytes(400)]).float())
    # Chance correlations of 400 numbers have a standard deviation of .05.
    assert (similar - torch.eye(2 * ROWS)).abs().max() < 0.3


def test_a_row_draws_the_same_whatever_is_drawn_with_it():
    whole, part = hashed(), hashed(range(10, 20))
    for draw in (
        lambda n: n.uniform(3, 5),
        lambda n: n.bytes(7),
        lambda n: n.integers(0, 9, 4),
        lambda n: n.uniform(2),
    ):
        assert torch.equal(draw(whole)[10:20], draw(part))


def test_no_number_is_used_twice():
    """Two calls are one: the second starts where the first ended, not before and not at it."""
    once, pieces = hashed(), hashed()
    assert torch.equal(once.uniform(5), torch.cat([pieces.uniform(2), pieces.uniform(3)], 1))


def test_the_seeds_are_those_of_single_rows():
    seeds = mixed_each(5, 7, last=torch.arange(40))
    assert seeds.tolist() == [mixed(5, 7, row) for row in range(40)]


def test_the_first_numbers_are_the_published_ones():
    """SplitMix64 seeded with 1234567 gives 6457827717110365317, 3203168211198807973, 9817491932198370423."""
    known = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    drawn = Hashed(torch.tensor([1234567])).uniform(3)
    assert drawn.tolist() == [[(word >> 40) / 2**24 for word in known]]
