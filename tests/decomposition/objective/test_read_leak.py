"""What unimportant subcomponents write, against numbers made by hand and against autograd."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import recipe, trainer

from rankone.decomposition.objective.read_leak import silent_writing, squared_output

X = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
READ = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
WRITE = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
LOGITS = torch.tensor([[-1.0, 0.5], [2.0, 0.0]])


def test_the_sum_by_hand():
    # v·x is (1, 2.5) and (3, 1.5); 1 − g is (1, .5) and (0, 1); ‖u‖² is 4 and 2.
    # So 4 · (1² + 0) + 2 · (1.25² + 1.5²).
    assert silent_writing(X, READ, WRITE, LOGITS).item() == pytest.approx(4 + 2 * (1.5625 + 2.25))


def test_what_is_fully_important_does_not_leak():
    assert silent_writing(X, READ, WRITE, torch.full((2, 2), 3.0)).item() == 0


def test_gradients_are_autograds():
    read, write = READ.double().requires_grad_(), WRITE.double().requires_grad_()
    silent_writing(X, read, write, LOGITS, torch.float64).backward()
    ours = read.grad, write.grad
    read.grad = write.grad = None
    written = torch.einsum("pd,dc,pc,co->pco", X.double(), read, 1 - LOGITS.double().clamp(0, 1), write)
    written.square().sum().backward()
    torch.testing.assert_close(ours, (read.grad, write.grad))


def test_the_importance_function_learns_nothing_from_it():
    logits = LOGITS.clone().requires_grad_()
    silent_writing(X, READ.clone().requires_grad_(), WRITE, logits).backward()
    assert logits.grad is None


def test_squared_output_by_hand():
    # W x is (1 + 2, 2) and (3, 0).
    weight = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    assert squared_output(X, weight).item() == pytest.approx(9 + 4 + 9)


def test_without_a_coefficient_nothing_is_measured():
    run = trainer(recipe())
    with run.model:
        assert "read_leak" not in run.step(0)
    assert run.prices.names == []


def test_parts_of_a_batch_give_the_step_of_the_whole():
    told, factors = [], []
    for parts in (1, 2):
        run = trainer(recipe(read_leak=2.0, machine__accumulation=parts, clip=1e9))
        with run.model:
            told.append(run.step(0)["read_leak"])
        factors.append(torch.cat([p.grad.flatten() for p in run.factors]))
    assert told[0] == pytest.approx(told[1], rel=1e-5)
    torch.testing.assert_close(*factors, rtol=1e-3, atol=1e-5)


def test_steps_with_it_leak_less():
    leaks = []
    for coefficient in (1e-9, 20.0):
        config = recipe(read_leak=coefficient, steps=40, learning_rate={"start": 1e-2})
        run = trainer(config)
        with run.model:
            leaks.append([run.step(i)["read_leak"] for i in range(40)][-1])
    assert leaks[1] < 0.8 * leaks[0]
