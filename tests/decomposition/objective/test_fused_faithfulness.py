"""The squared remainder against autograd's, in float64."""

from __future__ import annotations

import pytest
import torch

from rankone.decomposition.objective.fused_faithfulness import squared_remainder
from rankone.decomposition.site import delta_of

D_IN, C, D_OUT = 5, 7, 4


def matrices(dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = ((D_OUT, D_IN), (D_IN, C), (C, D_OUT))
    weight, read, write = (torch.randn(size, generator=generator).to(dtype) for size in sizes)
    return weight, read.requires_grad_(), write.requires_grad_()


def plain(weight, read, write):
    return delta_of(weight, read, write).square().sum()


def test_value_and_gradients_are_those_of_autograd():
    given = matrices()
    found, expected = squared_remainder(*given, torch.float64), plain(*given)
    torch.testing.assert_close(found, expected)
    for a, b in zip(
        torch.autograd.grad(3 * found, given[1:]), torch.autograd.grad(3 * expected, given[1:]), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_gradients_in_half_precision_are_relative_to_the_remainder_not_to_the_weight():
    """V U within 1e-3 of W: a remainder formed in bf16 would be all rounding."""
    _, read, write = matrices(torch.float32)
    small = 1e-3 * torch.randn(D_OUT, D_IN, generator=torch.Generator().manual_seed(1))
    weight = (read @ write).T.detach() + small
    found = squared_remainder(weight, read, write, torch.bfloat16)
    assert found.item() == pytest.approx(plain(weight, read, write).item(), rel=1e-3)
    expected = torch.autograd.grad(plain(weight, read, write), [read, write])
    for a, b in zip(torch.autograd.grad(found, [read, write]), expected, strict=True):
        assert a.dtype == torch.float32
        assert (a - b).norm() < 0.01 * b.norm()
