"""One stack of runs of one method and retain set: fitted from every start, the better kept, sized, measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.fitting.size import Held, Limit, Resizable, find_limit, size_edit
from rankone.edits.fitting.sized import width_groups
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.kind import Kind
from rankone.edits.methods.registry import kind_named
from rankone.experiments.bench.cells import Cell
from rankone.experiments.bench.ledger import DomainResult, Outcome, Stage
from rankone.experiments.bench.measuring import Base, Measure
from rankone.experiments.job import Job


class Bench:
    """A method under a retain set: its starts, and its measures on validation and test text.

    fits: those of the last stack, before sizing.
    """

    def __init__(self, job: Job, method: str, cap: float, texts: Mapping[str, Mapping[str, Base]]) -> None:
        self.job, self.kind, self.cap = job, kind_named(method), cap
        self.starts: Sequence[Method] = job.starts(method)
        sites = self.starts[0].sites()
        model = job.workspace.model
        self.measures = {split: Measure(model, sites, bases) for split, bases in texts.items()}
        self._limits: dict[tuple[int, bool], tuple[float, Limit]] = {}
        self.fits: dict[Cell, Fit] = {}

    @cached_property
    def held(self) -> Held:
        """Retained text for sizing."""
        return self.job.retain_text.held(self.starts[0].sites())

    def run(self, cells: Sequence[Cell], keys: Sequence[str], sized: bool) -> list[Outcome]:
        """Outcomes of the cells, in their order. What RankOne refuses is told as the failure of every run of the stack."""
        clock = time.monotonic()
        try:
            outcomes = self._run(cells, sized)
        except RankOneError as error:
            outcomes = [Outcome(cell=cell, key="", error=str(error)) for cell in cells]
        seconds = (time.monotonic() - clock) / len(cells)
        return [
            outcome.model_copy(update={"key": key, "seconds": seconds})
            for outcome, key in zip(outcomes, keys, strict=True)
        ]

    def _run(self, cells: Sequence[Cell], sized: bool) -> list[Outcome]:
        runs = [self._asked(cell) for cell in cells]
        best = self._best(runs)
        self.fits = {cell: fit for cell, (_, fit) in zip(cells, best, strict=True)}
        fitted = self._measured(best, [dict(fit.parameters) for _, fit in best], [1.0] * len(best))
        stages: list[Stage | None] = [None] * len(cells)
        if sized:
            stages = list(self._sized(best))
        return [
            Outcome(
                cell=cell,
                key="",
                start=start,
                steps=fit.steps,
                loss=fit.loss,
                diverged=fit.diverged,
                fitted=one,
                sized=two,
            )
            for cell, (start, fit), one, two in zip(cells, best, fitted, stages, strict=True)
        ]

    def _asked(self, cell: Cell) -> Run:
        text = self.job.forget_text(cell.budget, cell.seed)
        return Run(text, cell.seed, cell.retain_weight, cell.learning_rate, self.cap)

    def _best(self, runs: Sequence[Run]) -> list[tuple[int, Fit]]:
        """Of every run the start with the lowest loss, and its fit."""
        every = [self._from(method, runs) for method in self.starts]
        return [
            min(enumerate(fits), key=lambda item: (item[1].diverged, _number(item[1].loss), item[0]))
            for fits in zip(*every, strict=True)
        ]

    def _from(self, method: Method, runs: Sequence[Run]) -> list[Fit]:
        if not self.kind.trained:
            return [_as_it_starts(method, run) for run in runs]
        config = self.job.config.fit.model_copy(update=_objective(self.kind))
        fits_by_run: dict[int, Fit] = {}
        for group in width_groups(runs):
            fits = fit_many(
                self.job.workspace.model,
                method,
                [runs[i] for i in group],
                self.job.retain_text,
                config,
                keep_diverged=True,
            )
            fits_by_run |= dict(zip(group, fits, strict=True))
        return [
            _negated(method, fits_by_run[i]) if self.kind.negated else fits_by_run[i]
            for i in range(len(runs))
        ]

    def _sized(self, best: Sequence[tuple[int, Fit]]) -> list[Stage | None]:
        sizes, reached, parameters = [], [], []
        model = self.job.workspace.model
        aim = self.job.aim.model_copy(update={"cap": self.cap})
        for start, fit in best:
            change = fit.edit if self.kind.weights else Resizable(fit.method, fit.parameters)
            limit = self._limit(start, fit, change, aim)
            sized = size_edit(model, change, fit.run.forget, self.held, aim, limit)
            sizes.append(sized.size)
            reached.append(sized.reached)
            parameters.append(self.starts[start].resized(fit.parameters, sized.size))
        stages = self._measured(best, parameters, sizes)
        return [stage.model_copy(update={"reached": r}) for stage, r in zip(stages, reached, strict=True)]

    def _limit(self, start: int, fit: Fit, change: LowRankEdit | Resizable, aim: Aim) -> Limit | None:
        """How far retained text lets a fit go: of one scale found once for each side, as all its fits have one direction."""
        amount = _amount(fit.method, fit.parameters) if fit.method.fixed else None
        if not amount:
            return None
        key = (start, amount > 0)
        if key not in self._limits:
            self._limits[key] = amount, find_limit(self.job.workspace.model, change, self.held, aim)
        first, limit = self._limits[key]
        return replace(limit, size=limit.size * first / amount)

    def _measured(
        self,
        best: Sequence[tuple[int, Fit]],
        parameters: Sequence[Mapping[str, Tensor]],
        sizes: Sequence[float],
    ) -> list[Stage]:
        """Stages of fits, runs of one start together."""
        stage_of: dict[int, Stage] = {}
        for start, method in enumerate(self.starts):
            places = [i for i, (chosen, _) in enumerate(best) if chosen == start]
            if not places:
                continue
            stacked = {k: torch.stack([parameters[i][k] for i in places]) for k in parameters[places[0]]}
            results = {split: measure.results(method, stacked) for split, measure in self.measures.items()}
            for n, i in enumerate(places):
                by_split: dict[str, dict[str, DomainResult]] = {
                    split: by_run[n] for split, by_run in results.items()
                }
                alpha = _alpha(self.kind, method, parameters[i])
                stage_of[i] = Stage(
                    size=sizes[i],
                    alpha=alpha,
                    validation=by_split["validation"],
                    test=by_split.get("test", {}),
                )
        return [stage_of[i] for i in range(len(best))]


def _number(loss: float) -> float:
    return loss if loss == loss else float("inf")


def _objective(kind: Kind) -> dict[str, object]:
    return (
        {}
        if kind.objective == "uniform"
        else {"objective": kind.objective, "target": "sampled", "cap": "mean"}
    )


def _as_it_starts(method: Method, run: Run) -> Fit:
    device = run.forget.ids.device
    start = {k: p.detach().to(device) for k, p in method.start(1, [run.seed]).items()}
    return Fit(run, method, {k: v[0] for k, v in start.items()}, 0, float("nan"))


def _negated(method: Method, fit: Fit) -> Fit:
    parameters = method.resized(fit.parameters, -1.0)
    return replace(fit, parameters=parameters)


def _amount(method: Method, parameters: Mapping[str, Tensor]) -> float:
    """How far a method of one number goes: α − 1, or that number."""
    scales = getattr(method, "alphas", None)
    if scales is None:
        (value,) = parameters.values()
        return float(value)
    return float(scales({k: v.unsqueeze(0) for k, v in parameters.items()})[0, 0]) - 1


def _alpha(kind: Kind, method: Method, parameters: Mapping[str, Tensor]) -> float | None:
    if not kind.one_scale:
        return None
    edit = {k: v.unsqueeze(0) for k, v in parameters.items()}
    scales = getattr(method, "alphas", None)
    return float(scales(edit)[0, 0]) if scales is not None else None
