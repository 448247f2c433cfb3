"""Adam over stacked runs against torch's own, and the step at which a run stops."""

from __future__ import annotations

import pytest
import torch

from rankone.edits.fitting.adam import StackedAdam


def stacked(count, patience=10, rates=None):
    """(optimiser, its parameter [runs, 2])."""
    parameter = torch.tensor([[1.0, -2.0]] * count, requires_grad=True)
    return StackedAdam({"p": parameter}, rates or [0.1] * count, patience), parameter


def flat(parameter, values):
    """The given losses, one per run, with a gradient of zero."""
    return (parameter * 0).sum(-1) + torch.tensor(values)


def test_every_run_equals_adam_at_its_own_rate():
    optimiser, parameter = stacked(2, rates=[0.1, 0.01])
    single = [torch.tensor([1.0, -2.0], requires_grad=True) for _ in range(2)]
    others = [torch.optim.Adam([p], lr=rate) for p, rate in zip(single, (0.1, 0.01), strict=True)]
    for step in range(5):
        optimiser.step((parameter**4).sum(-1), step)
        for p, other in zip(single, others, strict=True):
            other.zero_grad()
            (p**4).sum().backward()
            other.step()
    torch.testing.assert_close(parameter.detach(), torch.stack([p.detach() for p in single]))


def test_a_gradient_of_the_size_of_epsilon_moves_half_a_rate():
    optimiser, parameter = stacked(1, rates=[0.1])
    optimiser.step(1e-8 * parameter.sum(-1), 0)
    assert parameter.tolist()[0] == pytest.approx([1.0 - 0.05, -2.0 - 0.05])


@pytest.mark.parametrize(
    ("first", "second", "goes_on"),
    [
        # The smoothed loss is .95 of the first and .05 of the second.
        (100.0, 92.0, False),  # 99.6: an improvement of .4 % is none
        (100.0, 88.0, True),  # 99.4: one of .6 % is
        (0.01, 0.008, False),  # .0099: of 1 %, but of 1e-4
        (0.01, 0.006, True),  # .0098
        (100.0, 100.0, False),
    ],
)
def test_an_improvement_is_more_than_half_a_percent_and_a_ten_thousandth(first, second, goes_on):
    optimiser, parameter = stacked(1, patience=1)
    optimiser.step(flat(parameter, [first]), 0)
    assert optimiser.active.tolist() == [True]
    optimiser.step(flat(parameter, [second]), 1)
    assert optimiser.active.tolist() == [goes_on]


def test_small_improvements_add_up():
    """Each is .4 % of the best so far; the second takes the smoothed loss past half a percent of it."""
    optimiser, parameter = stacked(1, patience=2)
    for step, value in enumerate((100.0, 92.0, 91.6)):  # smoothed: 100, 99.6, 99.2
        optimiser.step(flat(parameter, [value]), step)
    assert optimiser.active.tolist() == [True]
    assert optimiser.since.tolist() == [0.0]
    assert optimiser.best.tolist() == pytest.approx([99.2])


def test_a_run_stops_alone_stays_where_it_is_and_counts_its_steps():
    optimiser, parameter = stacked(2, patience=3)
    for step in range(8):
        falling = 100.0 * 0.5**step
        loss = (parameter**2).sum(-1) * 1e-6 + torch.tensor([50.0, falling])
        optimiser.step(loss, step)
        if step == 3:
            held = parameter[0].detach().clone()
    assert optimiser.active.tolist() == [False, True]
    assert optimiser.steps.tolist() == [4, 8]  # the first is the best, then three without an improvement
    assert torch.equal(parameter[0].detach(), held)
    assert not torch.equal(parameter[1].detach(), held)
