"""A step of Adam beside PyTorch's, and runs that stay."""

from __future__ import annotations

import torch

from rankone.runtime.adam import adam_move

BETAS = (0.9, 0.99)


def test_it_goes_where_pytorch_goes():
    generator = torch.Generator().manual_seed(0)
    theirs = torch.randn(3, 4, generator=generator, dtype=torch.float64).requires_grad_(True)
    ours = theirs.detach().clone()
    first, second, adam = (
        torch.zeros_like(ours),
        torch.zeros_like(ours),
        torch.optim.Adam([theirs], 0.1, BETAS),
    )
    for count in range(1, 6):
        gradient = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        theirs.grad = gradient.clone()
        adam.step()
        ours -= adam_move(first, second, gradient, count, torch.tensor(0.1, dtype=torch.float64), BETAS)
    torch.testing.assert_close(ours, theirs.detach())


def test_the_first_step_by_hand_and_a_run_that_stays():
    """Bias correction makes the first step the rate times the sign; where keep is 0 nothing is noted."""
    first, second = torch.zeros(2, 1), torch.zeros(2, 1)
    keep, rate = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.5], [0.0]])
    move = adam_move(first, second, torch.tensor([[-3.0], [7.0]]), torch.ones(2, 1), rate, BETAS, keep)
    torch.testing.assert_close(move, torch.tensor([[-0.5], [0.0]]))
    assert (first[1], second[1]) == (0, 0)
    torch.testing.assert_close(torch.stack([first[0], second[0]]), torch.tensor([[-0.3], [0.09]]))
