"""One stack of runs of one method and retain set: fitted from every start, the better kept, sized, measured."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import torch

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.fitting.size import Held, Limit, Resizable, find_limit
from rankone.edits.fitting.sized import as_it_starts, brought_to_size, fit_by_width, merit
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.kind import Kind
from rankone.edits.methods.registry import kind_named
from rankone.experiments.bench.cells import Cell
from rankone.experiments.bench.choice import best_size
from rankone.experiments.bench.ledger import DomainResult, Outcome, Stage
from rankone.experiments.bench.measuring import Base, Measure
from rankone.experiments.config import Sized
from rankone.experiments.job import Job


class Bench:
    """A method under a retain set: its starts, and its measures on validation and test text.

    fits: of the last stack, as its first stage measures them: as fitted, or at their size where only that is looked at.
    """

    def __init__(self, job: Job, method: str, texts: Mapping[str, Mapping[str, Base]]) -> None:
        self.job, self.kind = job, kind_named(method)
        self.starts: Sequence[Method] = job.starts(method)
        sites = self.starts[0].sites()
        model = job.workspace.model
        self.measures = {split: Measure(model, sites, bases) for split, bases in texts.items()}
        self._limits: dict[tuple[int, bool], tuple[float, Limit]] = {}
        self.fits: dict[Cell, Fit] = {}

    @cached_property
    def held(self) -> Held:
        """Retained text for sizing."""
        return self.job.retain_text.held(self.starts[0].sites(), self.job.aim.measure)

    def run(self, cells: Sequence[Cell], keys: Sequence[str], sized: Sized) -> list[Outcome]:
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

    def _run(self, cells: Sequence[Cell], sized: Sized) -> list[Outcome]:
        return self.outcomes(cells, self.fitted(self.runs(cells), sized), sized)

    def prepare(self) -> None:
        """Compute now what all its stacks share, texts as far as no edit changes them; else the first stack does."""
        for measure in self.measures.values():
            measure.prepare()
        _ = self.held, self.job.retain_text.prepared(self.starts[0].sites())

    def runs(self, cells: Sequence[Cell]) -> list[Run]:
        """What is fitted together: the cells with their text to forget."""
        return [self._asked(cell) for cell in cells]

    def fitted(self, runs: Sequence[Run], sized: Sized) -> list[list[Fit]]:
        """By start the fits of the runs, none of them brought to its size."""
        return [self._from(method, runs, sized == "only" and self.kind.trained) for method in self.starts]

    def outcomes(self, cells: Sequence[Cell], every: Sequence[Sequence[Fit]], sized: Sized) -> list[Outcome]:
        """What comes of the fits of every start: the better one of each cell, as it is or brought to a size, measured."""
        alone, resized = sized == "only", self.kind.trained  # What is not fitted has its size.
        best = self._best(every, alone and resized)
        self.fits = {cell: fit for cell, (_, fit) in zip(cells, best, strict=True)}
        first, at_size = self._measured(best), list[Stage | None]()
        if resized and sized is True:
            at_size += self._measured([(start, self._at_size(start, fit)) for start, fit in best])
        matched = resized and self.job.config.matched and "test" in self.measures
        at_match = self._matched(best) if matched else []
        return [
            Outcome(
                cell=cell,
                key="",
                start=start,
                steps=fit.steps,
                loss=fit.loss,
                diverged=fit.diverged,
                fitted=None if alone else first[i],
                sized=first[i] if alone else at_size[i] if at_size else None,
                matched=at_match[i] if at_match else None,
            )
            for i, (cell, (start, fit)) in enumerate(zip(cells, best, strict=True))
        ]

    def _asked(self, cell: Cell) -> Run:
        text = self.job.forget_text(cell.budget, cell.seed)
        cap = self.job.config.cap if cell.cap is None else cell.cap
        return Run(text, cell.seed, cell.retain_weight, cell.learning_rate, cap)

    def _best(self, every: Sequence[Sequence[Fit]], at_size: bool) -> list[tuple[int, Fit]]:
        """Of every run the start with the lowest loss, and its fit; at_size: the one that removes most at its size."""
        if at_size:
            every = [[self._at_size(start, fit) for fit in fits] for start, fits in enumerate(every)]

        def worse(item: tuple[int, Fit]) -> tuple[object, ...]:
            start, fit = item
            if at_size:
                return fit.diverged, *(-value for value in merit(fit, self.job.aim)), start
            return fit.diverged, math.inf if math.isnan(fit.loss) else fit.loss, start

        return [min(enumerate(fits), key=worse) for fits in zip(*every, strict=True)]

    def _from(self, method: Method, runs: Sequence[Run], at_size: bool) -> list[Fit]:
        """Fits of one start; of what is looked at in its size alone, one scale is not fitted."""
        if not self.kind.trained or (at_size and method.fixed):
            return [as_it_starts(method, run, run.forget.ids.device) for run in runs]
        config = self.job.config.fit.model_copy(update=_objective(self.kind))
        model, retain = self.job.workspace.model, self.job.retain_text
        fits = fit_by_width(model, method, runs, retain, config, keep_diverged=True)
        if not self.kind.negated:
            return fits
        return [replace(fit, parameters=method.resized(fit.parameters, -1.0)) for fit in fits]

    def _at_size(self, start: int, fit: Fit) -> Fit:
        change = fit.edit if self.kind.weights else Resizable(fit.method, fit.parameters)
        limit = self._limit(start, fit, change)
        return brought_to_size(self.job.workspace.model, fit, change, self.held, self.job.aim, limit)

    def _limit(self, start: int, fit: Fit, change: LowRankEdit | Resizable) -> Limit | None:
        """How far retained text lets a fit of one scale go: the same for all on one side of 1. None of others: ask each."""
        amount = _amount(fit) if fit.method.fixed else None
        if not amount:
            return None
        key = (start, amount > 0)
        if key not in self._limits:
            limit = find_limit(self.job.workspace.model, change, self.held, self.job.aim)
            self._limits[key] = amount, limit
        first, limit = self._limits[key]
        return replace(limit, size=limit.size * first / amount)

    def _matched(self, best: Sequence[tuple[int, Fit]]) -> list[Stage]:
        """The same at the size that validation text scores best."""
        sizes, resized = list[float](), list[tuple[int, Fit]]()
        measure, aim, at_once = self.measures["validation"], self.job.judged, self.job.config.stack
        for start, fit in best:
            size = best_size(measure, fit.method, fit.parameters, aim, at_once)
            sizes.append(size)
            resized.append((start, replace(fit, parameters=fit.method.resized(fit.parameters, size))))
        stages = self._measured(resized)
        return [stage.model_copy(update={"size": size}) for stage, size in zip(stages, sizes, strict=True)]

    def _measured(self, best: Sequence[tuple[int, Fit]]) -> list[Stage]:
        """Stages of fits, runs of one start together."""
        stage_of: dict[int, Stage] = {}
        for start, method in enumerate(self.starts):
            fits = {i: fit for i, (chosen, fit) in enumerate(best) if chosen == start}
            if not fits:
                continue
            names = next(iter(fits.values())).parameters
            stacked = {k: torch.stack([fit.parameters[k] for fit in fits.values()]) for k in names}
            results = {split: measure.results(method, stacked) for split, measure in self.measures.items()}
            for n, (i, fit) in enumerate(fits.items()):
                by_split: dict[str, dict[str, DomainResult]] = {
                    split: by_run[n] for split, by_run in results.items()
                }
                stage_of[i] = Stage(
                    size=1.0 if fit.sized is None else fit.sized.size,
                    alpha=_alpha(fit) if self.kind.one_scale else None,
                    validation=by_split["validation"],
                    test=by_split.get("test", {}),
                    reached=None if fit.sized is None else fit.sized.reached,
                )
        return [stage_of[i] for i in range(len(best))]


def _objective(kind: Kind) -> dict[str, object]:
    return (
        {}
        if kind.objective == "uniform"
        else {"objective": kind.objective, "target": "sampled", "cap": "mean"}
    )


def _amount(fit: Fit) -> float:
    """How far a fit of one number goes: α − 1, or that number."""
    alpha = _alpha(fit)
    if alpha is not None:
        return alpha - 1
    (value,) = fit.parameters.values()
    return float(value)


def _alpha(fit: Fit) -> float | None:
    """The first α of a fit; None of a method without any."""
    alphas = getattr(fit.method, "alphas", None)
    if alphas is None:
        return None
    return float(alphas({name: value.unsqueeze(0) for name, value in fit.parameters.items()})[0, 0])
