"""The price of importance: numbers worked out by hand, slopes against autograd."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from rankone.decomposition.objective.config import Minimality
from rankone.decomposition.objective.minimality import (
    PENALTIES,
    RunningMean,
    at_one,
    lp,
    lp_slope,
    minimality_loss,
    smooth_l0,
    smooth_l0_slope,
)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("g", "gamma", "value", "slope"),
    [(0.5, 0.5, 0.5, 1.0), (1.0, 2.0, 0.2, 0.32), (0.0, 0.1, 0.0, 0.0), (0.3, 0.1, 0.9, 0.6)],
)
def test_smooth_l0_by_hand(g, gamma, value, slope):
    # (g, γ) = (.3, .1): .09 / .10 = .9; 2 · .3 · .01 / .10² = .6
    torch.testing.assert_close(smooth_l0(double(g), double(gamma)), double(value))
    torch.testing.assert_close(smooth_l0_slope(double(g), double(gamma)), double(slope))


@pytest.mark.parametrize(
    ("g", "p", "value", "slope"), [(0.25, 0.5, 0.5, 1.0), (0.5, 2.0, 0.25, 1.0), (1.0, 0.4, 1.0, 0.4)]
)
def test_lp_by_hand(g, p, value, slope):
    torch.testing.assert_close(lp(double(g), double(p)), double(value))
    torch.testing.assert_close(lp_slope(double(g), double(p)), double(slope))


@pytest.mark.parametrize("kind", ["smooth_l0", "lp"])
@pytest.mark.parametrize("sharpness", [0.02, 0.4, 1.0, 2.0])
def test_slopes_are_derivatives(kind, sharpness):
    penalty, slope = PENALTIES[kind]
    g = torch.linspace(1e-3, 1.2, 50, dtype=torch.float64).requires_grad_()
    penalty(g, double(sharpness)).sum().backward()
    torch.testing.assert_close(slope(g.detach(), double(sharpness)), g.grad, rtol=1e-10, atol=1e-12)


def test_loss_by_hand():
    # f = (1/2, 1/6, 0), a′ = 6: Σf = 2/3; Σ f log2(1 + 6f) = 1/2 · 2 + 1/6 · 1 = 7/6.
    config = Minimality(activity=2.0, frequency=3.0, reference_count=6.0)
    torch.testing.assert_close(
        minimality_loss(double(0.5, 1 / 6, 0.0), config), torch.tensor(4 / 3 + 3.5).double()
    )


def test_either_term_alone():
    f = double(0.5, 0.25)
    only_activity = Minimality(activity=1.0, frequency=0.0)
    only_frequency = Minimality(activity=0.0, frequency=1.0, reference_count=4.0)
    assert minimality_loss(f, only_activity).item() == 0.75
    assert minimality_loss(f, only_frequency).item() == pytest.approx(0.5 * math.log2(3) + 0.25)


def test_one_firing_at_every_position_costs_more_than_several_rare_ones():
    config = Minimality(activity=1.0, frequency=1.0)
    spread, dense = double(0.25, 0.25, 0.25, 0.25), double(1.0, 0.0, 0.0, 0.0)
    assert minimality_loss(dense, config) > minimality_loss(spread, config)


@pytest.mark.parametrize("schedule", [{"start": 1.0, "end": 0.0}, {"start": 1.0, "warmup": 0.1}])
def test_a_smooth_l0_that_reaches_sharpness_zero_is_refused(schedule):
    # g² / (g² + 0) is 0 / 0 at g = 0: the run would die when the schedule got there.
    with pytest.raises(ValidationError, match="sharpness"):
        Minimality.model_validate({"sharpness": schedule})


def test_normalised_smooth_l0_is_one_at_one():
    config, gamma = Minimality(normalised=True), double(0.5)
    # ψ(1) = 1 / (1 + γ²) = .8
    torch.testing.assert_close(at_one(config, gamma), double(0.8))
    torch.testing.assert_close(smooth_l0(double(1.0), gamma) / at_one(config, gamma), double(1.0))
    torch.testing.assert_close(at_one(Minimality(), gamma), double(1.0))


def test_the_running_mean_by_hand():
    # Half-life 1: decay ½. After .8 then .2: (½ · ½ · .8 + ½ · .2) / (½ · ½ + ½) = .3 / .75 = .4
    mean = RunningMean(1.0, 1, torch.device("cpu"))
    torch.testing.assert_close(mean(torch.tensor([0.8])), torch.tensor([0.8]))
    values = torch.tensor([0.2], requires_grad=True)
    found = mean(values)
    torch.testing.assert_close(found, torch.tensor([0.4]))
    # Loss f log2(1 + f) at f̂ = .4: its slope there, not at .2, reaches `values` undiminished.
    minimality_loss(found, Minimality(activity=0.0, frequency=1.0, reference_count=1.0)).backward()
    slope = math.log2(1.4) + 0.4 / (1.4 * math.log(2))
    torch.testing.assert_close(values.grad, torch.tensor([slope]))


def test_without_a_half_life_the_batch_stands_for_itself():
    values = torch.tensor([0.2, 0.5])
    assert RunningMean(None, 2, torch.device("cpu"))(values) is values


def test_a_running_mean_goes_on_from_its_state():
    first, second = (RunningMean(3.0, 2, torch.device("cpu")) for _ in range(2))
    first(torch.tensor([0.2, 0.5]))
    second.load({k: v.clone() for k, v in first.tensors().items()})
    more = torch.tensor([0.1, 0.9])
    assert torch.equal(first(more), second(more))
