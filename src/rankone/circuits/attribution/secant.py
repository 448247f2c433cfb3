"""Constants of the frozen rule, and an element-wise function as a factor on its input: f(h) = (f(h) / h) h."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

# Below this size of h the ratio is taken to be the derivative.
NEAR = 1e-12


class Held:
    """What a forward by the frozen rule holds constant, in order. Given the tape of an earlier one, it holds those instead:
    then the forward is one linear map, whatever its inputs are."""

    def __init__(self, tape: Iterable[Tensor] | None = None) -> None:
        self.tape: list[Tensor] = []
        self._given: Iterator[Tensor] | None = None if tape is None else iter(tape)

    def __call__(self, value: Tensor) -> Tensor:
        """The constant that stands for a value."""
        constant = value.detach() if self._given is None else next(self._given)
        self.tape.append(constant)
        return constant


def secant(function: Callable[[Tensor], Tensor], x: Tensor, held: Held) -> Tensor:
    """f(x) with gradient f(x)/x in place of f'(x); where x is 0, f'(0). For functions with f(0) = 0."""
    still = x.detach()
    value = function(still).detach()
    near = still.abs() < NEAR
    ratio = value / torch.where(near, torch.ones_like(still), still)
    if near.any():
        ratio = torch.where(near, _derivative(function, still), ratio)
    return x * held(ratio.to(x.dtype))


def _derivative(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.clone().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return slope
