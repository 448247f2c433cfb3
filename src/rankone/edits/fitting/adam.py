"""Adam over stacked runs: every run has its own rate, and stops by itself at its plateau."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8
LOSS_DECAY = 0.95
# An improvement of the smoothed loss smaller than this share of it does not count against the patience.
PLATEAU = 0.005


class StackedAdam:
    """Adam (β .9/.999) for parameters stacked [runs, …], and the stopping of each run.

    A run whose smoothed loss has not improved for `patience` steps stays where it is. All state is on the device of the
    parameters.
    """

    def __init__(self, parameters: Mapping[str, Tensor], rates: Sequence[float], patience: int) -> None:
        self.parameters, self.patience = dict(parameters), patience
        device, count = next(iter(parameters.values())).device, len(rates)
        self.rates = torch.tensor(rates, device=device)
        self.active: Bool[Tensor, " runs"] = torch.ones(count, dtype=torch.bool, device=device)
        self.smoothed = torch.full((count,), math.nan, device=device)
        self.best = torch.full((count,), math.inf, device=device)
        self.since = torch.zeros(count, device=device)
        self.steps = torch.zeros(count, dtype=torch.long, device=device)
        self.moments = {k: (torch.zeros_like(p), torch.zeros_like(p)) for k, p in parameters.items()}

    def step(self, loss: Float[Tensor, " runs"], step: int) -> None:
        """One step down the gradient of every run's loss; `step` counts from 0."""
        gradients = torch.autograd.grad(loss.sum(), list(self.parameters.values()))
        with torch.no_grad():
            for (name, parameter), gradient in zip(self.parameters.items(), gradients, strict=True):
                first, second = self.moments[name]
                first.lerp_(gradient, 1 - BETAS[0])
                second.lerp_(gradient.square(), 1 - BETAS[1])
                spread = (second / (1 - BETAS[1] ** (step + 1))).sqrt() + EPSILON
                rate = (self.rates * self.active).view(-1, *[1] * (parameter.ndim - 1))
                parameter.sub_(rate * first / (1 - BETAS[0] ** (step + 1)) / spread)
        self._watch(loss.detach())

    def _watch(self, loss: Float[Tensor, " runs"]) -> None:
        """Note which runs still improve."""
        self.steps += self.active
        fresh = self.smoothed.isnan()
        smoothed = torch.where(fresh, loss, LOSS_DECAY * self.smoothed + (1 - LOSS_DECAY) * loss)
        self.smoothed = torch.where(self.active, smoothed, self.smoothed)
        improved = self.smoothed < self.best * (1 - PLATEAU) - 1e-4
        self.best = torch.where(improved, self.smoothed, self.best)
        self.since = torch.where(improved, 0.0, self.since + 1)
        self.active &= self.since < self.patience
