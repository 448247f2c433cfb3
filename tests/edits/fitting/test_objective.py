"""Forget terms by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rankone.core.errors import RankOneError
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.objective import removal_loss


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("uniform", 1.5),
        ("ascent", -2.5),
        ("learn", 2.5),
        ("npo", 20 * math.log(1 + math.exp(-0.1 * 4 * (2.5 - 1.0)))),
        ("simnpo", 0.8 * math.log(1 + math.exp(-2.5 * 2.5))),
    ],
)
def test_each_by_hand(objective, expected):
    """Surprise 2.5 where the base has 1, four tokens, a cap of 4."""
    values = (torch.tensor([v]) for v in (2.5, 1.0, 4.0, 4.0))
    assert float(removal_loss(objective, *values)) == pytest.approx(expected, rel=1e-5)


def test_past_the_cap_nothing_is_left():
    values = (torch.tensor([v]) for v in (5.0, 1.0, 4.0, 4.0))
    assert float(removal_loss("uniform", *values)) == 0.0


def test_other_objectives_are_of_sampled_tokens():
    with pytest.raises(RankOneError, match="'npo' is of the tokens that follow"):
        FitConfig.checked({"objective": "npo", "target": "expected"}, "fit")
