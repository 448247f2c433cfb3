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
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.fitting.size import Held, Limit, Resizable, find_limit
from rankone.edits.fitting.sized import brought_to_size, merit, width_groups
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.methods.kind import Kind
from rankone.edits.methods.registry import kind_named
from rankone.experiments.bench.cells import Cell
from rankone.experiments.bench.ledger import DomainResult, Outcome, Stage
from rankone.experiments.bench.measuring import Base, Measure
from rankone.experiments.config import Sized
from rankone.experiments.job import Job


class Bench:
    """A method under a retain set: its starts, and its measures on validation and test text.

    fits: those of the last stack that are measured first, before sizing if they are measured so.
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
        """Work out now what all its stacks share, else worked out with the first: texts as far as edits leave them alone."""
        for measure in self.measures.values():
            measure.prepare()
        _ = self.held, self.job.retain_text.prepared(self.starts[0].sites())

    def runs(self, cells: Sequence[Cell]) -> list[Run]:
        """What is fitted together: the cells with their text to forget."""
        return [self._asked(cell) for cell in cells]

    def fitted(self, runs: Sequence[Run], sized: Sized) -> list[list[Fit]]:
        """Of every start the fits of the runs, none of them in its size."""
        return [self._from(method, runs, sized == "only" and self.kind.trained) for method in self.starts]

    def outcomes(self, cells: Sequence[Cell], every: Sequence[Sequence[Fit]], sized: Sized) -> list[Outcome]:
        """What comes of the fits of every start: the better one of each cell, as it is or brought to its size, measured."""
        alone, resized = sized == "only", self.kind.trained  # What is not fitted has its size.
        best = self._best(every, alone and resized)
        self.fits = {cell: fit for cell, (_, fit) in zip(cells, best, strict=True)}
        first, at_size = self._measured(best), list[Stage | None]()
        if resized and sized is True:
            at_size += self._measured([(start, self._at_size(start, fit)) for start, fit in best])
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
            return fit.diverged, _number(fit.loss), start

        return [min(enumerate(fits), key=worse) for fits in zip(*every, strict=True)]

    def _from(self, method: Method, runs: Sequence[Run], at_size: bool) -> list[Fit]:
        """Fits of one start; of what is looked at in its size alone, one scale is not fitted."""
        if not self.kind.trained or (at_size and method.fixed):
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

    def _at_size(self, start: int, fit: Fit) -> Fit:
        change = fit.edit if self.kind.weights else Resizable(fit.method, fit.parameters)
        limit = self._limit(start, fit, change)
        return brought_to_size(self.job.workspace.model, fit, change, self.held, self.job.aim, limit)

    def _limit(self, start: int, fit: Fit, change: LowRankEdit | Resizable) -> Limit | None:
        """How far retained text lets a fit go: of one scale found once for each side, as all its fits have one direction."""
        amount = _amount(fit.method, fit.parameters) if fit.method.fixed else None
        if not amount:
            return None
        key = (start, amount > 0)
        if key not in self._limits:
            limit = find_limit(self.job.workspace.model, change, self.held, self.job.aim)
            self._limits[key] = amount, limit
        first, limit = self._limits[key]
        return replace(limit, size=limit.size * first / amount)

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
                    alpha=_alpha(self.kind, method, fit.parameters),
                    validation=by_split["validation"],
                    test=by_split.get("test", {}),
                    reached=None if fit.sized is None else fit.sized.reached,
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
