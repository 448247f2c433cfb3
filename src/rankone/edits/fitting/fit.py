"""Fitting edits to forget some text and hold the rest: many runs, budgets and weights at once.

Objective of a run (the published experiment, whose cap and weighting are not stated in full), λ its weight:
    L = max(0, margin · ln V − CE_forget) + λ · KL(base ‖ edited) on retain text.
Other forget terms: objective.py; a loss of activations instead: misdirection.py.
CE_forget is `sampled` (of the tokens that follow) or `expected` (of the base model's own next-token distribution at the
forget tokens): the expectation of the same quantity without the luck of which token came next, which at a budget of
four tokens decides over the sign of the fit. The cap acts on the mean CE of a run (`mean`) or on each term (`token`).
How far to go in the direction that a fit finds is another matter: size.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method, Priced
from rankone.edits.fitting.adam import StackedAdam
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.forget import ForgetText, refuse_empty
from rankone.edits.fitting.misdirection import Misdirection
from rankone.edits.fitting.objective import removal_loss
from rankone.edits.fitting.passes.arithmetic import short_products
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Fit, Run
from rankone.metrics.cross_entropy import following_losses
from rankone.models.output import vocabulary_size

# Nats per token by which a run's predictions must differ from the base's to have a gradient of their own.
STATIONARY = 1e-5


def fit_many(
    model: PreTrainedModel,
    method: Method,
    runs: Sequence[Run],
    retain: RetainText,
    config: FitConfig,
    keep_diverged: bool = False,
) -> list[Fit]:
    """Fit all runs together on the model's device; each result equals the fit of that run alone (up to rounding of
    batched products).

    Raises RankOneError naming the run when a loss is not finite; with `keep_diverged` that run stops there instead, and
    its Fit says so.
    """
    refuse_empty([(run.seed, run.forget) for run in runs])
    device = next(model.parameters()).device
    parameters = {
        name: p.detach().to(device).requires_grad_(True)
        for name, p in method.start(len(runs), [run.seed for run in runs]).items()
    }
    adam = StackedAdam(parameters, [run.learning_rate for run in runs], config.patience, keep_diverged)
    losses_of = Misdirection if config.objective == "rmu" else _Loss
    loss, fits = losses_of(model, method, runs, retain, config), dict[int, Fit]()
    for step in range(config.steps):
        with short_products(device, config.autocast):
            losses = loss.at(step, adam)
        bad = ~torch.isfinite(losses)
        if bad.any() and not keep_diverged:
            _refuse_infinite(losses, [runs[i] for i in adam.runs.tolist()], step)
        adam.step(losses, step, bad)
        if not adam.active.any():
            break
        if not adam.active.all():
            fits |= _results(method, runs, adam, (~adam.active).nonzero().flatten().tolist())
            adam.keep(adam.active.nonzero().flatten())
    fits |= _results(method, runs, adam, list(range(len(adam.runs))))
    return [fits[i] for i in range(len(runs))]


def _refuse_infinite(loss: Float[Tensor, " runs"], runs: Sequence[Run], step: int) -> None:
    bad = (~torch.isfinite(loss)).nonzero().flatten().tolist()
    if bad:
        run = runs[bad[0]]
        raise RankOneError(
            f"the loss of seed {run.seed}, {run.forget.tokens} forget tokens, λ {run.retain_weight} is not finite "
            f"at step {step}: lower its learning rate ({run.learning_rate})."
        )


class _Loss:
    """The loss of every run that is stacked, at a step."""

    def __init__(
        self,
        model: PreTrainedModel,
        method: Method,
        runs: Sequence[Run],
        retain: RetainText,
        config: FitConfig,
    ) -> None:
        device = next(model.parameters()).device
        self.method, self.config, self.retain = method, config, retain
        self.weights = torch.tensor([run.retain_weight for run in runs], device=device)
        self.caps = torch.tensor([run.margin for run in runs], device=device) * math.log(
            vocabulary_size(model)
        )
        self.forget = ForgetText(device, [run.forget for run in runs], config.target, config.forget_rows)
        self.forward, self.held = retain.prepared(method.sites())
        self.text = self.forward.prepare(self.forget.ids, config.target == "sampled")
        self.base = following_losses(model, self.forget.ids) if config.objective == "npo" else None

    def at(self, step: int, adam: StackedAdam) -> Float[Tensor, " runs"]:
        """Removal, weighted damage, and the price that the method asks."""
        loss = self._removal(step, adam) + self.weights[adam.runs] * self._damage(step, adam)
        return loss + self.method.price(adam.parameters) if isinstance(self.method, Priced) else loss

    def _removal(self, step: int, adam: StackedAdam) -> Float[Tensor, " runs"]:
        index, scored = self.forget.rows(step, adam.runs)
        tokens = scored.sum((1, 2)).float()
        weights = scored.float() / tokens.clamp_min(1).view(-1, 1, 1)
        caps = self.caps[adam.runs]
        if self.config.cap == "token":
            each = self.forward.each(self.text, index, self.method, adam.parameters)
            return (F.relu(caps.view(-1, 1, 1) - each) * weights).sum((1, 2))
        surprise = self.forward.weighted(self.text, index, weights, self.method, adam.parameters)
        if step == 0 and self.config.target == "expected":
            surprise = self._started(surprise, index, scored, weights, adam)
        base = (
            (self.base[index] * weights).sum((1, 2)) if self.base is not None else torch.zeros_like(surprise)
        )
        return removal_loss(self.config.objective, surprise, base, tokens, caps)

    def _started(
        self,
        surprise: Float[Tensor, " runs"],
        index: Int[Tensor, "runs rows"],
        scored: Bool[Tensor, "runs rows t"],
        weights: Float[Tensor, "runs rows t"],
        adam: StackedAdam,
    ) -> Float[Tensor, " runs"]:
        """Where a run still predicts what the base does (a LoRA at its start), the surprise at the tokens that follow.

        There the expected surprise is least and has no gradient: rounding alone, another on every processor, would choose
        the first step.
        """
        still = (surprise - (self.text.entropy[index] * weights).sum((1, 2))).abs() < STATIONARY
        if not still.any():
            return surprise
        followed = F.pad(scored[..., 1:], (0, 1))
        shares = followed.float() / followed.sum((1, 2)).clamp_min(1).view(-1, 1, 1)
        text = self.forward.prepare(self.forget.ids, following=True)
        sampled = self.forward.weighted(text, index, shares, self.method, adam.parameters)
        return torch.where(still, sampled, surprise)

    def _damage(self, step: int, adam: StackedAdam) -> Float[Tensor, " runs"]:
        rows = self.retain.rows(step, self.config.retain_rows).unsqueeze(0)
        present = self.retain.present[rows]
        weights = present.float() / present.sum()
        surprise = self.forward.weighted(self.held, rows, weights, self.method, adam.parameters)
        return surprise - (self.held.entropy[rows] * weights).sum()


def _results(method: Method, runs: Sequence[Run], adam: StackedAdam, places: Sequence[int]) -> dict[int, Fit]:
    """The fits of the runs at some places of the stack, by the number of the run."""
    final = {k: p.detach().clone() for k, p in adam.parameters.items()}
    return {
        int(adam.runs[i]): Fit(
            runs[int(adam.runs[i])],
            method,
            {k: v[i] for k, v in final.items()},
            int(adam.steps[i]),
            float(adam.smoothed[i]),
            diverged=bool(adam.diverged[i]),
        )
        for i in places
    }
