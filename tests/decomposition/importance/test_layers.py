"""Perceptrons of importance functions against the same thing one subcomponent at a time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rankone.decomposition.importance.layers import Perceptron, StackedPerceptron, scaled_linear


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4)])
@pytest.mark.parametrize("d_in", [1, 3])
@pytest.mark.parametrize("shared", [False, True])
def test_a_stack_is_one_perceptron_per_subcomponent(hidden, d_in, shared):
    stack = StackedPerceptron(4, d_in, hidden)
    for bias in stack.biases:
        torch.nn.init.normal_(bias)
    x = torch.randn(2, 3, 1 if shared else 4, d_in)
    expected = []
    for c in range(4):
        own = x[..., 0 if shared else c, :]
        for k in range(len(hidden) + 1):
            own = own @ stack.weights[k][c] + stack.biases[k][c]
            own = own if k == len(hidden) else F.gelu(own)
        expected.append(own)
    torch.testing.assert_close(stack(x), torch.cat(expected, -1))


def test_a_perceptron_is_linear_gelu_linear():
    mlp, x = Perceptron(3, (5,), 2), torch.randn(2, 4, 3)
    first, last = mlp.layers
    torch.testing.assert_close(mlp(x), last(F.gelu(first(x))))


def test_spread_at_the_start():
    assert scaled_linear(100, 400, 2.0).weight.std().item() == pytest.approx(0.2, rel=0.05)
    stack = StackedPerceptron(50, 64, (40,))
    assert stack.weights[0].std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert stack.weights[1].std().item() == pytest.approx(40**-0.5, rel=0.05)
    assert not any(bias.any() for bias in stack.biases)
