"""Fitting edits to forget some text and hold the rest: many runs, budgets and weights at once.

Objective of a run (the published experiment, whose cap and weighting are not stated in full), λ its weight:
    L = max(0, margin · ln V − CE_forget) + λ · KL(base ‖ edited) on retain text.
CE_forget is `sampled` (of the tokens that follow) or `expected` (of the base model's own next-token distribution at the
forget tokens): the expectation of the same quantity without the luck of which token came next, which at a budget of
four tokens decides over the sign of the fit. The cap acts on the mean CE of a run (`mean`) or on each term (`token`).
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

from rankone.core.config import Config
from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method, adapted
from rankone.edits.lowrank import LowRankEdit
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks

LOSS_DECAY = 0.95
# An improvement of the smoothed loss smaller than this share of it does not count against the patience.
PLATEAU = 0.005


class FitConfig(Config):
    """How runs are fitted; shared by every method that is compared."""

    steps: int = Field(default=300, gt=0, description="ceiling")
    patience: int = Field(
        default=60, gt=0, description="steps without improvement of the smoothed loss before a run stops"
    )
    target: Literal["expected", "sampled"] = "expected"
    cap: Literal["token", "mean"] = "mean"
    retain_rows: int = Field(default=1, gt=0, description="rows of retain text per run and step")
    forget_rows: int = Field(
        default=1, gt=0, description="rows of forget text per run and step, taken in turn"
    )
    autocast: bool = True


@dataclass(frozen=True)
class Run:
    """One fit: its forget text, seed, weight λ of the retain term, learning rate, and the cap in units of ln V."""

    forget: Blocks
    seed: int
    retain_weight: float
    learning_rate: float
    margin: float = 1.0


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
    forget = _ForgetText(runs, config, model)
    device_type = next(model.parameters()).device.type
    with adapted(model, method, parameters, len(runs)):
        for step in range(config.steps):
            with torch.autocast(device_type, torch.bfloat16, enabled=config.autocast):
                removal = _forget_loss(model, forget, step, state.margins, config)
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
        self.margins = torch.tensor([run.margin for run in runs])
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
        smoothed = torch.where(fresh, loss, LOSS_DECAY * self.smoothed + (1 - LOSS_DECAY) * loss)
        self.smoothed = torch.where(self.active, smoothed, self.smoothed)
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


class _ForgetText:
    """The forget rows of all runs, padded to the longest; each run takes its own in order and round again.

    scored: [rows, T], the positions whose prediction enters the loss. targets: next-token ids (`sampled`), or the base
    model's next-token probabilities (`expected`).
    """

    def __init__(self, runs: Sequence[Run], config: FitConfig, model: PreTrainedModel) -> None:
        empty = [run for run in runs if run.forget.tokens == 0]
        if empty:
            raise RankOneError(f"the forget text of seed {empty[0].seed} is empty. Give at least 1 token.")
        blocks = [run.forget for run in runs]
        width = max(b.ids.shape[1] for b in blocks)
        self.ids = torch.cat([F.pad(b.ids, (0, width - b.ids.shape[1])) for b in blocks])
        valid = torch.cat([F.pad(b.valid, (0, width - b.ids.shape[1])) for b in blocks])
        if config.target == "expected":
            with torch.no_grad():
                parts = [model(input_ids=ids, use_cache=False).logits for ids in self.ids.split(32)]
            self.targets = F.softmax(torch.cat(parts).float(), dim=-1)
            self.scored = valid
        else:
            self.targets = self.ids.roll(-1, dims=1)
            self.scored = F.pad(valid[:, 1:], (0, 1))
        self.lengths = torch.tensor([[len(b.ids)] for b in blocks])
        self.starts = self.lengths.cumsum(0) - self.lengths
        self.turns = torch.arange(config.forget_rows)

    def rows(self, step: int) -> tuple[Int[Tensor, "rows t"], Tensor, Bool[Tensor, "rows t"]]:
        """Ids, targets and scored positions of one step; a run with fewer rows than asked has each of them once."""
        index = (self.starts + (step * len(self.turns) + self.turns) % self.lengths).flatten()
        once = (self.turns < self.lengths).flatten().unsqueeze(1)
        return self.ids[index], self.targets[index], self.scored[index] & once


def _forget_loss(
    model: PreTrainedModel,
    forget: _ForgetText,
    step: int,
    margins: Float[Tensor, " runs"],
    config: FitConfig,
) -> Float[Tensor, " runs"]:
    ids, targets, scored = forget.rows(step)
    logits = model(input_ids=ids, use_cache=False).logits.float()
    # Takes class ids (sampled) as well as class probabilities (expected).
    cross_entropy = F.cross_entropy(logits.flatten(0, 1), targets.flatten(0, 1), reduction="none")
    cap = margins * math.log(logits.shape[-1])
    runs = len(ids) // config.forget_rows
    weight = scored.float().view(runs, -1)
    count = weight.sum(1).clamp_min(1)
    each = cross_entropy.view(runs, -1)
    if config.cap == "token":
        return (F.relu(cap.unsqueeze(1) - each) * weight).sum(1) / count
    return F.relu(cap - (each * weight).sum(1) / count)


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
        "margin": run.margin,
        "steps": fit.steps,
    }
