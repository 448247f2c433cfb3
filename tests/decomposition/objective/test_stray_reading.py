"""What parts read in rows that are none of their business, against numbers made by hand and against autograd."""

from __future__ import annotations

import math

import pytest
import torch
from tests.decomposition.tiny import recipe, trainer

from rankone.decomposition.objective.stray_reading import CLEAN, RARE, StrayReading, energies, stray_loss
from rankone.runtime.distributed import Ranks

# Two rows of two positions, one input, two parts.
X = torch.tensor([[[1.0], [2.0]], [[3.0], [0.0]]])
READ = torch.tensor([[1.0, 0.5]])
OUT = torch.tensor([[1.0, 0.5], [0.0, 1.0]])


def test_energies_by_hand():
    # (v·x)² is 1, 4 | 9, 0 of the first part and a quarter of that of the second.
    stray, everywhere = energies(X, READ, OUT)
    torch.testing.assert_close(stray, torch.tensor([1.0 + 4, 0.25 * (1 + 4) / 4 + 9 / 4]))
    torch.testing.assert_close(everywhere, torch.tensor([14.0, 3.5]))


def test_gradients_of_energies_are_autograds():
    read = READ.double().requires_grad_()
    stray, everywhere = energies(X, read, OUT.double(), torch.float64)
    (2 * stray + torch.tensor([3.0, 5.0]) * everywhere).sum().backward()
    ours, read.grad = read.grad, None
    a = X.double() @ read
    plain = 2 * (OUT.double().unsqueeze(1) * a).square() + torch.tensor([3.0, 5.0]) * a.square()
    plain.sum().backward()
    torch.testing.assert_close(ours, read.grad)


def test_the_loss_of_a_site_by_hand():
    # Weights ½ and ¾, of which the second's is RARE · 3 / (RARE · 3 + RARE).
    loss, *_ = stray_loss(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 8.0]), RARE * torch.tensor([1.0, 3.0]))
    weights = 0.5 / 1.25, 0.75 / 1.25
    assert loss.item() == pytest.approx(
        weights[0] * math.log(0.5 + CLEAN) + weights[1] * math.log(0.25 + CLEAN)
    )


def test_the_derivatives_of_the_loss_are_autograds():
    stray, everywhere = torch.tensor([1.0, 2.0]).requires_grad_(), torch.tensor([2.0, 8.0]).requires_grad_()
    loss, *ours = stray_loss(stray, everywhere, torch.tensor([0.1, 0.2]))
    loss.backward()
    torch.testing.assert_close(ours, [stray.grad, everywhere.grad])


def test_a_part_that_is_never_important_does_not_count():
    loss, to_stray, _ = stray_loss(
        torch.tensor([1.0, 1.0]), torch.tensor([2.0, 9.0]), torch.tensor([0.1, 0.0])
    )
    assert loss.item() == pytest.approx(math.log(0.5 + CLEAN))
    assert to_stray[1] == 0


def test_the_length_of_a_read_direction_does_not_matter():
    run = trainer(recipe(stray_reading=1.0, initialisation="random"))
    with run.model:
        _, inputs = run.model.clean(run.batch(0))
    logits = run.decomposition.logits(inputs).detach()
    losses = []
    for length in (1.0, 7.0):
        for p in run.decomposition.V.parameters():
            p.data *= length
        losses.append(StrayReading(run.decomposition, 1.0).backward(inputs, logits, Ranks()).item())
        along = [(p * p.grad).sum(0).abs().max() for p in run.decomposition.V.parameters()]
        run.optimizer.zero_grad()
        assert max(along) < 1e-4
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
