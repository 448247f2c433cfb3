"""SplitMix64 against its published outputs and against itself on tensors; seeds that shipped runs drew stay as they are."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from rankone.harvest.counting.sampling import firing_keys
from rankone.runtime.hashing import GOLDEN, finalised, mixed, shifted, signed

words = st.integers(0, (1 << 64) - 1)


def test_the_first_outputs_of_the_published_generator():
    """SplitMix64 seeded with 1234567 gives 6457827717110365317, 3203168211198807973, 9817491932198370423."""
    known = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    for step, expected in enumerate(known):
        state = torch.tensor([signed(1234567 + (step + 1) * GOLDEN)])
        assert int(finalised(state)) == signed(expected)
        assert mixed((1234567 + step * GOLDEN) % (1 << 64)) == expected >> 1


@given(words)
def test_tensors_and_numbers_are_hashed_alike(number):
    assert int(shifted(finalised(torch.tensor([signed(number + GOLDEN)])), 1)) == mixed(number)


def test_draws_of_shipped_runs_stay():
    assert mixed(0, 4, 2, 1, 7) == 2572790346830121051
    keys = firing_keys(7, torch.tensor([0, 5, 123456]), torch.tensor([0, 3, 900]))
    assert keys.tolist() == [95004936968, 1002109638193, 96560299288]
