"""Fitting edits to forget some text and hold the rest: many runs, budgets and weights at once.

Objective of a run (experiment: the published post, with its cap): with CE over its forget tokens and λ its weight,
    L = max(0, ln V − CE_forget) + λ · KL(base ‖ edited) on retain text.
The cap can act on the mean CE of the run's tokens (`mean`) or on each token (`token`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.config import Config
from rankone.edits.adapters import Method, adapted
from rankone.edits.lowrank import LowRankEdit
from rankone.errors import RankOneError
from rankone.progress import Meter
from rankone.text.blocks import Blocks

LOSS_DECAY = 0.95
# An improvement of the smoothed loss smaller than this share of it does not count against the patience.
PLATEAU = 0.005


class FitConfig(Config):
    """How runs are fitted; shared by every method that is compared."""

    steps: int = Field(300, gt=0, description="ceiling")
    patience: int = Field(
        60, gt=0, description="steps without improvement of the smoothed loss before a run stops"
    )
    cap: Literal["token", "mean"] = "token"
    retain_rows: int = Field(1, gt=0, description="rows of retain text per run and step")
    forget_rows: int = Field(1, gt=0, description="rows of forget text per run and step, taken in turn")
    autocast: bool = True


@dataclass(frozen=True)
class Run:
    """One fit: its forget text, seed, weight λ of the retain term and learning rate."""

    forget: Blocks
    seed: int
    retain_weight: float
    learning_rate: float


@dataclass(frozen=True)
class Fit:
    """The outcome of one run."""

    run: Run
    edit: LowRankEdit
    parameters: dict[str, Tensor]
    steps: int
    loss: float


class RetainText:
    """Retain rows with the base model's log-probabilities, computed once for all runs."""

    def __init__(self, model: PreTrainedModel, blocks: Blocks) -> None:
        if blocks.tokens == 0:
            raise RankOneError("the retain text is empty.")
        self.ids, self.present = blocks.ids, blocks.present
        with torch.no_grad():
            parts = [model(input_ids=ids, use_cache=False).logits for ids in blocks.ids.split(32)]
        self.log_probs: Float[Tensor, "rows t vocab"] = F.log_softmax(torch.cat(parts).float(), dim=-1)

    def rows(self, step: int, count: int) -> Int[Tensor, " count"]:
        """The rows of one step, the same for every run, in order and round again."""
        return (torch.arange(count) + step * count) % len(self.ids)


def fit_many(
    model: PreTrainedModel,
    method: Method,
    runs: Sequence[Run],
    retain: RetainText,
    config: FitConfig,
    bar: Meter | None = None,
) -> list[Fit]:
    """Fit all runs together; each result equals the fit of that run alone (up to rounding of batched products).

    Raises RankOneError naming the run when a loss is not finite.
    """
    parameters = method.start(len(runs), [run.seed for run in runs])
    state = _State(runs, parameters, config)
    forget = _stack_forget([run.forget for run in runs], config.forget_rows)
    device_type = next(model.parameters()).device.type
    with adapted(model, method, parameters, len(runs)):
        for step in range(config.steps):
            with torch.autocast(device_type, torch.bfloat16, enabled=config.autocast):
                removal = _forget_loss(model, forget, step, config)
                damage = _retain_loss(model, retain, len(runs), step, config)
            loss = removal + state.weights * damage
            state.step(loss, step)
            if bar is not None:
                bar.advance(1)
            if not state.active.any():
                if bar is not None:
                    bar.advance(config.steps - step - 1)
                break
    return state.results(method)


class _State:
    """Stacked Adam and the stopping of each run by itself."""

    def __init__(self, runs: Sequence[Run], parameters: dict[str, nn.Parameter], config: FitConfig) -> None:
        self.runs, self.parameters, self.config = runs, parameters, config
        count = len(runs)
        self.weights = torch.tensor([run.retain_weight for run in runs])
        self.rates = torch.tensor([run.learning_rate for run in runs])
        self.active: Bool[Tensor, " runs"] = torch.ones(count, dtype=torch.bool)
        self.smoothed, self.best = torch.full((count,), math.nan), torch.full((count,), math.inf)
        self.since, self.steps = torch.zeros(count), torch.zeros(count, dtype=torch.long)
        self.moments = {k: (torch.zeros_like(p), torch.zeros_like(p)) for k, p in parameters.items()}

    def step(self, loss: Float[Tensor, " runs"], step: int) -> None:
        """Adam (β .9/.999) with each run's own rate; runs that have stopped stay where they are."""
        bad = (~torch.isfinite(loss)).nonzero().flatten().tolist()
        if bad:
            run = self.runs[bad[0]]
            raise RankOneError(
                f"the loss of seed {run.seed}, {run.forget.tokens} forget tokens, λ {run.retain_weight} is not finite "
                f"at step {step}: lower its learning rate ({run.learning_rate})."
            )
        grads = torch.autograd.grad(loss.sum(), list(self.parameters.values()))
        with torch.no_grad():
            for (name, parameter), grad in zip(self.parameters.items(), grads, strict=True):
                first, second = self.moments[name]
                first.lerp_(grad, 0.1)
                second.lerp_(grad.square(), 0.001)
                update = (first / (1 - 0.9 ** (step + 1))) / (
                    (second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
                )
                rate = (self.rates * self.active).view(-1, *[1] * (parameter.ndim - 1))
                parameter.sub_(rate * update)
        self._watch(loss.detach())

    def _watch(self, loss: Float[Tensor, " runs"]) -> None:
        """Stop a run whose smoothed loss has not improved for `patience` steps."""
        self.steps += self.active
        fresh = self.smoothed.isnan()
        self.smoothed = torch.where(fresh, loss, LOSS_DECAY * self.smoothed + (1 - LOSS_DECAY) * loss)
        improved = self.smoothed < self.best * (1 - PLATEAU) - 1e-4
        self.best = torch.where(improved, self.smoothed, self.best)
        self.since = torch.where(improved, 0.0, self.since + 1)
        self.active &= self.since < self.config.patience

    def results(self, method: Method) -> list[Fit]:
        """One Fit per run."""
        final = {k: p.detach().clone() for k, p in self.parameters.items()}
        return [
            Fit(
                run,
                method.edit(final, i),
                {k: v[i] for k, v in final.items()},
                int(self.steps[i]),
                float(self.smoothed[i]),
            )
            for i, run in enumerate(self.runs)
        ]


def _stack_forget(blocks: Sequence[Blocks], rows: int) -> list[tuple[Tensor, Tensor]]:
    """Per step of a cycle: ids [runs · k, T] and validity, each run padded to the longest and cycling its own rows."""
    width = max(b.ids.shape[1] for b in blocks)
    most = max(math.ceil(len(b.ids) / rows) for b in blocks)
    cycle = []
    for turn in range(most):
        ids, valid = [], []
        for b in blocks:
            take = [(turn * rows + i) % len(b.ids) for i in range(min(rows, len(b.ids)))]
            take += [take[0]] * (rows - len(take))
            own_ids = F.pad(b.ids[take], (0, width - b.ids.shape[1]))
            own_valid = F.pad(b.valid[take], (0, width - b.ids.shape[1]))
            own_valid[len(b.ids) :] = False
            ids.append(own_ids)
            valid.append(own_valid)
        cycle.append((torch.cat(ids), torch.cat(valid)))
    return cycle


def _forget_loss(
    model: PreTrainedModel, cycle: list[tuple[Tensor, Tensor]], step: int, config: FitConfig
) -> Float[Tensor, " runs"]:
    ids, valid = cycle[step % len(cycle)]
    logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
    cross_entropy = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    chance = math.log(logits.shape[-1])
    runs = len(ids) // config.forget_rows
    weight = valid[:, 1:].float().view(runs, -1)
    count = weight.sum(1).clamp_min(1)
    per_token = cross_entropy.view(runs, -1)
    if config.cap == "token":
        return (F.relu(chance - per_token) * weight).sum(1) / count
    return F.relu(chance - (per_token * weight).sum(1) / count)


def _retain_loss(
    model: PreTrainedModel, retain: RetainText, runs: int, step: int, config: FitConfig
) -> Float[Tensor, " runs"]:
    rows = retain.rows(step, config.retain_rows)
    ids, present, base = retain.ids[rows], retain.present[rows], retain.log_probs[rows]
    logits = model(input_ids=ids.repeat(runs, 1), use_cache=False).logits
    edited = F.log_softmax(logits.float(), dim=-1).view(runs, *base.shape)
    kl = (base.exp() * (base - edited)).sum(-1)
    return (kl * present).sum((1, 2)) / present.sum()


def describe(fit: Fit) -> dict[str, Any]:
    """Plain values of a fit for a results table."""
    run = fit.run
    return {
        "budget": run.forget.tokens,
        "seed": run.seed,
        "retain_weight": run.retain_weight,
        "learning_rate": run.learning_rate,
        "steps": fit.steps,
    }
