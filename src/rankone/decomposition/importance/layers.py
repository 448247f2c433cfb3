"""Layers of importance functions: scaled linear maps, and perceptrons of one map or of one per subcomponent."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def scaled_linear(fan_in: int, fan_out: int, gain: float) -> nn.Linear:
    """A linear map with weights ~ N(0, gain²/fan_in) and bias 0."""
    layer = nn.Linear(fan_in, fan_out)
    nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in))
    nn.init.zeros_(layer.bias)
    return layer


class Perceptron(nn.Module):
    """Linear, GELU, …, Linear: x [..., d_in] → [..., d_out]."""

    def __init__(self, d_in: int, hidden: Sequence[int], d_out: int) -> None:
        super().__init__()
        sizes = [d_in, *hidden, d_out]
        gains = [math.sqrt(2)] * len(hidden) + [1.0]
        self.layers = nn.ModuleList(
            scaled_linear(a, b, gain) for (a, b), gain in zip(itertools.pairwise(sizes), gains, strict=True)
        )

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_out"]:
        """Apply it."""
        for layer in self.layers[:-1]:
            x = F.gelu(layer(x))
        return self.layers[-1](x)


class StackedPerceptron(nn.Module):
    """One scalar-valued perceptron per subcomponent: x [..., C, d_in] (C may be 1: all read the same) → [..., C].

    `weights[k]` is [C, in, out], `biases[k]` [C, out].
    """

    def __init__(self, count: int, d_in: int, hidden: Sequence[int]) -> None:
        super().__init__()
        sizes = [d_in, *hidden, 1]
        gains = [math.sqrt(2)] * len(hidden) + [1.0]
        self.weights = nn.ParameterList(
            torch.randn(count, a, b) * gain / math.sqrt(a)
            for (a, b), gain in zip(itertools.pairwise(sizes), gains, strict=True)
        )
        self.biases = nn.ParameterList(torch.zeros(count, b) for b in sizes[1:])

    def forward(self, x: Float[Tensor, "... c d_in"]) -> Float[Tensor, "... c"]:
        """Apply each subcomponent's perceptron to its own input."""
        last = len(self.weights) - 1
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = _product(x, weight) + bias
            x = x if k == last else F.gelu(x)
        return x.squeeze(-1)


def _product(x: Float[Tensor, "... c a"], weight: Float[Tensor, "c a b"]) -> Float[Tensor, "... c b"]:
    """x_c W_c for every c; the thin cases as sums, since a batched product of one column is slow."""
    if weight.shape[1] == 1:
        return x * weight[:, 0]
    if weight.shape[2] == 1 and x.shape[-2] > 1:
        return (x * weight[..., 0]).sum(-1, keepdim=True)
    if x.shape[-2] == 1:
        return torch.einsum("...a,cab->...cb", x.squeeze(-2), weight)
    return torch.einsum("...ca,cab->...cb", x, weight)
