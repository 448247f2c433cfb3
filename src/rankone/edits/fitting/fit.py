"""Fitting edits to forget some text and hold the rest: many runs, budgets and weights at once.

Objective of a run (the published experiment, whose cap and weighting are not stated in full), λ its weight:
    L = max(0, margin · ln V − CE_forget) + λ · KL(base ‖ edited) on retain text.
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
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method, adapted
from rankone.edits.fitting.adam import StackedAdam
from rankone.edits.fitting.forget import ForgetText, refuse_empty
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Fit, FitConfig, Run
from rankone.metrics.cross_entropy import prediction_losses
from rankone.metrics.top_tokens import top_kl
from rankone.runtime.progress import Meter


def fit_many(
    model: PreTrainedModel,
    method: Method,
    runs: Sequence[Run],
    retain: RetainText,
    config: FitConfig,
    bar: Meter | None = None,
) -> list[Fit]:
    """Fit all runs together on the model's device; each result equals the fit of that run alone (up to rounding of
    batched products).

    Raises RankOneError naming the run when a loss is not finite.
    """
    refuse_empty([(run.seed, run.forget) for run in runs])
    device = next(model.parameters()).device
    parameters = {
        name: p.detach().to(device).requires_grad_(True)
        for name, p in method.start(len(runs), [run.seed for run in runs]).items()
    }
    adam = StackedAdam(parameters, [run.learning_rate for run in runs], config.patience)
    weights = torch.tensor([run.retain_weight for run in runs], device=device)
    margins = torch.tensor([run.margin for run in runs], device=device)
    forget = ForgetText(model, [run.forget for run in runs], config.target, config.forget_rows)
    with adapted(model, method, parameters, len(runs)):
        for step in range(config.steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=config.autocast):
                removal = _forget_loss(model, forget, step, margins, config)
                damage = _retain_loss(model, retain, len(runs), step, config)
            loss = removal + weights * damage
            _refuse_infinite(loss, runs, step)
            adam.step(loss, step)
            if bar is not None:
                bar.advance(1)
            if not adam.active.any():
                if bar is not None:
                    bar.advance(config.steps - step - 1)
                break
    return _results(method, runs, adam)


def _refuse_infinite(loss: Float[Tensor, " runs"], runs: Sequence[Run], step: int) -> None:
    bad = (~torch.isfinite(loss)).nonzero().flatten().tolist()
    if bad:
        run = runs[bad[0]]
        raise RankOneError(
            f"the loss of seed {run.seed}, {run.forget.tokens} forget tokens, λ {run.retain_weight} is not finite "
            f"at step {step}: lower its learning rate ({run.learning_rate})."
        )


def _forget_loss(
    model: PreTrainedModel, forget: ForgetText, step: int, margins: Float[Tensor, " runs"], config: FitConfig
) -> Float[Tensor, " runs"]:
    ids, targets, scored = forget.rows(step)
    logits = model(input_ids=ids, use_cache=False).logits
    cap = margins * math.log(logits.shape[-1])
    runs = len(ids) // config.forget_rows
    weight = scored.float().view(runs, -1)
    count = weight.sum(1).clamp_min(1)
    each = prediction_losses(logits, targets).view(runs, -1)
    if config.cap == "token":
        return (F.relu(cap.unsqueeze(1) - each) * weight).sum(1) / count
    return F.relu(cap - (each * weight).sum(1) / count)


def _retain_loss(
    model: PreTrainedModel, retain: RetainText, runs: int, step: int, config: FitConfig
) -> Float[Tensor, " runs"]:
    rows = retain.rows(step, config.retain_rows)
    ids, present, base = retain.ids[rows], retain.present[rows], retain.base.rows(rows)
    logits = model(input_ids=ids.repeat(runs, 1), use_cache=False).logits.unflatten(0, (runs, -1))
    kl = torch.stack([top_kl(base, edited) for edited in logits])
    return (kl * present).sum((1, 2)) / present.sum()


def _results(method: Method, runs: Sequence[Run], adam: StackedAdam) -> list[Fit]:
    """One Fit per run."""
    final = {k: p.detach().clone() for k, p in adam.parameters.items()}
    return [
        Fit(
            run,
            method.edit(final, i),
            {k: v[i] for k, v in final.items()},
            int(adam.steps[i]),
            float(adam.smoothed[i]),
        )
        for i, run in enumerate(runs)
    ]
