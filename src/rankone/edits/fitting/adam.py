"""Adam over stacked runs: every run has its own rate, and stops by itself at its plateau."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rankone.runtime.adam import adam_move

BETAS = (0.9, 0.999)
LOSS_DECAY = 0.95
# An improvement of the smoothed loss smaller than this share of it does not count against the patience.
PLATEAU = 0.005


class StackedAdam:
    """Adam (β .9/.999) for parameters stacked [runs, …], and the stopping of each run.

    A run whose smoothed loss has not improved for `patience` steps stays where it is. runs: the numbers of those that are
    stacked now, all at first. All state is on the device of the parameters.
    """

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        rates: Sequence[float],
        patience: int,
        steps_back: bool = False,
    ) -> None:
        self.parameters, self.patience = dict(parameters), patience
        self.before = {k: p.detach().clone() for k, p in parameters.items()} if steps_back else None
        device, count = next(iter(parameters.values())).device, len(rates)
        self.rates = torch.tensor(rates, device=device)
        self.runs = torch.arange(count, device=device)
        self.active: Bool[Tensor, " runs"] = torch.ones(count, dtype=torch.bool, device=device)
        self.diverged: Bool[Tensor, " runs"] = torch.zeros(count, dtype=torch.bool, device=device)
        self.smoothed = torch.full((count,), math.nan, device=device)
        self.best = torch.full((count,), math.inf, device=device)
        self.since = torch.zeros(count, device=device)
        self.steps = torch.zeros(count, dtype=torch.long, device=device)
        self.moments = {k: (torch.zeros_like(p), torch.zeros_like(p)) for k, p in parameters.items()}

    def step(
        self, loss: Float[Tensor, " runs"], step: int, diverged: Bool[Tensor, " runs"] | None = None
    ) -> None:
        """One step down the gradient of every run's loss; `step` counts from 0. Diverged runs stay where they are."""
        gradients = torch.autograd.grad(loss.sum(), list(self.parameters.values()))
        if diverged is not None:
            self.active &= ~diverged
            self.diverged |= diverged
        if self.before is not None:
            self._step_back(diverged)
        with torch.no_grad():
            for (name, parameter), gradient in zip(self.parameters.items(), gradients, strict=True):
                shape = (-1, *[1] * (parameter.ndim - 1))
                move = adam_move(*self.moments[name], gradient, step + 1, self.rates.view(shape), BETAS)
                parameter.sub_(torch.where(self.active.view(shape), move, 0.0))
        self._watch(loss.detach())

    def _step_back(self, diverged: Bool[Tensor, " runs"] | None) -> None:
        """Return diverged runs to where they were, and note where the others are."""
        assert self.before is not None
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if diverged is not None and diverged.any():
                    parameter[diverged] = self.before[name][diverged]
                self.before[name].copy_(parameter)

    def keep(self, some: Int[Tensor, " some"]) -> None:
        """Stack only some of the runs (their places in the stack) from here on."""
        self.parameters = {k: p.detach()[some].requires_grad_(True) for k, p in self.parameters.items()}
        self.moments = {k: (first[some], second[some]) for k, (first, second) in self.moments.items()}
        if self.before is not None:
            self.before = {k: p[some] for k, p in self.before.items()}
        for name in ("rates", "runs", "active", "diverged", "smoothed", "best", "since", "steps"):
            setattr(self, name, getattr(self, name)[some])

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
