"""From which activation on a part fires, by hand."""

from __future__ import annotations

import pytest
import torch

from rankone.edits.rewriting.firing import _threshold


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        (
            [0.3, -0.2, 0.1, 0.05, -0.4],
            0.6,
            (-1, 0.2),
        ),  # −.4, .3 and −.2: the sign of their sum, the least that has it
        ([0.3, -0.2, 0.0, 0.0, 0.0], 0.4, (1, 0.3)),
        ([0.5, -0.5], 1.0, (1, 0.5)),
        ([0.1, -0.7, 0.2], 0.01, (-1, 0.7)),  # one at least
        ([2.0, 3.0, 1.0, 4.0], 0.5, (1, 3.0)),
    ],
)
def test_the_sign_that_most_have_and_the_least_that_has_it(values, share, expected):
    sign, least = _threshold(torch.tensor(values), share)
    assert (sign, least) == (expected[0], pytest.approx(expected[1]))
