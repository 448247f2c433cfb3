"""Statistics and predictors by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rankone.experiments.investigation.prediction import PREDICTORS, statistics
from rankone.experiments.investigation.traces import Traces


def column(*rows):
    return torch.tensor(rows).unsqueeze(-1)


def test_statistics_by_hand():
    found = Traces(
        activation=column([9.0, 1.0, 3.0], [9.0, 2.0, 9.0]),
        gradient=column([1.0, -2.0, 0.0], [4.0, 0.0, 0.0]),
        drawn=torch.stack(
            [column([1.0, 2.0, 0.0], [0.0, -1.0, 0.0]), column([1.0, -1.0, 0.0], [2.0, 0.0, 0.0])]
        ),
        valid=torch.tensor([[False, True, True], [False, True, False]]),
    )
    # A second domain: twice the energy, no gradient, and half the room.
    other = Traces(
        activation=column([28 / 3] * 2).sqrt(),
        gradient=column([0.0, 0.0]),
        drawn=torch.zeros(2, 1, 2, 1),
        valid=torch.tensor([[True, True]]),
    )
    chance = math.log(100)
    losses = [chance - torch.tensor([[9.0, 1.0, 2.0], [9.0, 3.0, 9.0]]), chance - torch.tensor([[0.0, -5.0]])]
    made = statistics([found, other], torch.tensor([[0.25], [0.5]]), losses, 100)
    assert made.importance[0].tolist() == [0.25]
    assert made.energy.flatten().tolist() == pytest.approx([(1 + 9 + 4) / 3, 28 / 3])
    assert made.slope[0].tolist() == pytest.approx([3 / 3])
    assert made.empirical[0].tolist() == pytest.approx([(1 + 4 + 16) / 3])
    # Rows: (3² + 1²) in the first draw, (0² + 2²) in the second; positions: 1 + 4 + 1 and 1 + 1 + 4.
    assert made.fisher[0].tolist() == pytest.approx([(10 + 4) / 2 / 3])
    assert made.fisher_by_position.flatten().tolist() == pytest.approx([(6 + 6) / 2 / 3, 0])
    # Predictions of the first row at a = 9 and 1, of the second at 9; the other domain has no room.
    assert made.push.flatten().tolist() == pytest.approx([(81 * 1 + 1 * 2 + 81 * 3) / 3, 0])
    said = {name: predict(made, -1.0).flatten().tolist() for name, predict in PREDICTORS.items()}
    assert said["importance"] == pytest.approx([0.5, 1])
    assert said["energy"] == pytest.approx([4 * 14 / 3, 4 * 28 / 3])
    assert said["first_order"] == pytest.approx([-2, 0])
    assert said["curvature"] == pytest.approx([2 * 7 / 3, 0])
    assert said["curvature_by_position"] == pytest.approx([4, 0])
    assert said["curvature_empirical"] == pytest.approx([14, 0])
    assert said["second_order"] == pytest.approx([-2 + 14 / 3, 0])
    assert said["second_order_by_position"] == pytest.approx([2, 0])
    assert said["second_order_empirical"] == pytest.approx([12, 0])
    # mean F = 1, all of it the first domain's: ½ β² · 1 · 2 = 4; β g = −2, damped by 1 + 2/8.
    assert said["push"] == pytest.approx([4 * 326 / 3, 0])
    assert said["damped_slope_shared_curvature"] == pytest.approx([4 - 2 / 1.25, 0])


def test_a_subcomponent_that_is_never_active_does_nothing():
    still = Traces(column([0.0, 0.0]), column([0.0, 0.0]), torch.zeros(1, 1, 2, 1), torch.ones(1, 2) > 0)
    made = statistics([still, still], torch.zeros(2, 1), [torch.zeros(1, 2)] * 2, 100)
    assert all(predict(made, -8.0).tolist() == [[0], [0]] for predict in PREDICTORS.values())


def test_nothing_is_predicted_where_nothing_is_turned():
    one = Traces(column([1.0]), column([1.0]), torch.ones(1, 1, 1, 1), torch.ones(1, 1) > 0)
    made = statistics([one], torch.ones(1, 1), [torch.ones(1, 1)], 100)
    assert all(float(predict(made, 1.0)) == 0 for predict in PREDICTORS.values())
