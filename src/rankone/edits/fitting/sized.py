"""Fitted and sized: directions from every start of a method, each brought to its size, and the best of them.

The best start is the one that removes most at its size (as far as the target, further does not count); of those that
remove the same, the one with the least damage. So the sign of an edit is chosen at equal cost, not by a fit's loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from rankone.edits.adapters import Method
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.fitting.size import Held, Limit, Resizable, find_limit, size_edit
from rankone.edits.lowrank import LowRankEdit
from rankone.runtime.progress import Meter

# Runs whose forget rows differ in width by more than this are fitted apart: padding would cost more than sharing saves.
WIDTH_STEP = 2.5


def fit_sized(
    model: PreTrainedModel,
    starts: Sequence[Method],
    runs: Sequence[Run],
    retain: RetainText,
    aim: Aim,
    config: FitConfig,
    bar: Meter | None = None,
) -> list[Fit]:
    """Fit all runs from every start and size each fit; per run the best start, in the order of `runs`.

    Each run's margin is its cap, for the fit and for the size.
    bar: advanced by one per run and start.
    """
    best: list[Fit | None] = [None] * len(runs)
    for method in starts:
        limit, held = None, retain.held(method.sites(), aim.measure)
        for i, fit in enumerate(_directions(model, method, runs, retain, config)):
            if method.fixed and limit is None:
                limit = find_limit(model, fit.edit, held, aim)
            sized = brought_to_size(model, fit, fit.edit, held, aim, limit)
            kept = best[i]
            if kept is None or merit(sized, aim) > merit(kept, aim):
                best[i] = sized
            if bar is not None:
                bar.advance(1)
    return [fit for fit in best if fit is not None]


def _directions(
    model: PreTrainedModel, method: Method, runs: Sequence[Run], retain: RetainText, config: FitConfig
) -> list[Fit]:
    """The runs as the method starts, where that is its direction, else fitted."""
    if method.fixed:
        return [as_it_starts(method, run, model.device) for run in runs]
    return fit_by_width(model, method, runs, retain, config)


def as_it_starts(method: Method, run: Run, device: torch.device) -> Fit:
    """The start of a method, with nothing fitted."""
    start = {name: p.detach().to(device)[0] for name, p in method.start(1, [run.seed]).items()}
    return Fit(run, method, start, 0, math.nan)


def fit_by_width(
    model: PreTrainedModel,
    method: Method,
    runs: Sequence[Run],
    retain: RetainText,
    config: FitConfig,
    keep_diverged: bool = False,
) -> list[Fit]:
    """`fit_many` of runs whose rows are about as wide, one such group after another; the fits in the order of the runs."""
    fits: dict[int, Fit] = {}
    for group in width_groups(runs):
        together = fit_many(model, method, [runs[i] for i in group], retain, config, keep_diverged)
        fits |= dict(zip(group, together, strict=True))
    return [fits[i] for i in range(len(runs))]


def brought_to_size(
    model: PreTrainedModel,
    fit: Fit,
    change: LowRankEdit | Resizable,
    held: Held,
    aim: Aim,
    limit: Limit | None,
) -> Fit:
    """The fit at its size; change: what it does, as an edit of weights or as its method says."""
    capped = aim.model_copy(update={"cap": fit.run.margin})
    sized = size_edit(model, change, fit.run.forget, held, capped, limit)
    return replace(fit, parameters=fit.method.resized(fit.parameters, sized.size), sized=sized)


def merit(fit: Fit, aim: Aim) -> tuple[float, float]:
    """What starts are chosen by: removal at the size, as far as the target, then the least damage."""
    assert fit.sized is not None
    target = fit.run.margin * aim.chance
    return min(fit.sized.removal.mean, target), -fit.sized.worst


def width_groups(runs: Sequence[Run]) -> list[list[int]]:
    """Indices of runs in groups whose row widths are within a factor of each other, narrowest first."""
    order = sorted(range(len(runs)), key=lambda i: runs[i].forget.ids.shape[1])
    groups: list[list[int]] = []
    for i in order:
        width = runs[i].forget.ids.shape[1]
        if groups and width <= WIDTH_STEP * max(8, runs[groups[-1][0]].forget.ids.shape[1]):
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups
