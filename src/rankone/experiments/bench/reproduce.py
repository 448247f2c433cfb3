"""A saved benchmark run again, some of its runs, and compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from pydantic import Field

from rankone.core.config import Record
from rankone.core.errors import RankOneError
from rankone.experiments.bench.cells import Cell
from rankone.experiments.bench.ledger import Ledger, Outcome, Stage
from rankone.experiments.bench.run import RUNS, Benchmark, read_record
from rankone.experiments.bench.tables import FITS, FitRow
from rankone.experiments.bench.work import Work
from rankone.experiments.tables import read_table
from rankone.opening import OpenOptions
from rankone.runtime.progress import Meter, meter

CE_TOLERANCE = 0.02
"""Nats per token by which a cross-entropy of a run may differ: Adam divides by small gradients, so rounding grows."""
BASE_TOLERANCE = 1e-3
"""The same for the unchanged model, where nothing grows."""


class Compared(Record):
    """One run again: the largest difference of a cross-entropy, edited and base, and of the first α; same: in tolerance.

    stage: of those that the run has (ledger.STAGES) the one that differs most. A size that validation text chose may jump
    from one to another that scores nearly as well.
    """

    cell: Cell
    stage: str
    ce_apart: float
    base_apart: float
    alpha_apart: float | None
    same: bool


class Reproduction(Record):
    """The runs compared, and what the machine or the code says otherwise. changed: identities that differ."""

    runs: tuple[Compared, ...]
    changed: dict[str, str] = Field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether every run came out within tolerance on the same model, parts and text."""
        return not self.changed and all(run.same for run in self.runs)


def reproduce(
    out: Path, runs: int, tolerance: float = CE_TOLERANCE, computed: OpenOptions | None = None
) -> Reproduction:
    """Run `runs` of a saved benchmark's runs again, spread over its grid, and compare.

    RankOneError where the folder holds no finished run.
    """
    record = read_record(out)
    before = _finished(out)
    if not before:
        raise RankOneError(f"'{out}' holds no finished run: finish it with `rankone bench`.")
    step = max(1, len(before) // runs)
    chosen = before[::step][:runs]
    again = Benchmark(record.config, computed)
    changed = {
        name: f"{old} was, {again.identities.get(name)} is"
        for name, old in record.identities.items()
        if again.identities.get(name) != old
    }
    with meter("run again", len(chosen)) as bar:
        runs_again = [compared(old, _again(again, old, bar), tolerance) for old in chosen]
    return Reproduction(runs=tuple(runs_again), changed=changed)


def _finished(out: Path) -> list[Outcome]:
    """The grid's runs with figures, in the order of the table."""
    fits = cast("list[FitRow]", read_table(out / "fits.parquet", FITS))
    keys = dict.fromkeys(row["key"] for row in fits if row["status"] == "ok")
    outcomes = (Ledger(out / RUNS).find(key) for key in keys)
    return [outcome for outcome in outcomes if outcome is not None and outcome.first is not None]


def _again(benchmark: Benchmark, old: Outcome, bar: Meter) -> Outcome:
    (outcome,) = benchmark.do(Work(purpose="grid", cells=(old.cell,), keys=(old.key,))).outcomes
    bar.advance(1, old.cell.method)
    return outcome


def compared(old: Outcome, new: Outcome, tolerance: float) -> Compared:
    """Every stage that the run has; a stage that is not there again differs without bound."""
    apart = {name: _stage_apart(stage, new.stages.get(name)) for name, stage in old.stages.items()}
    stage = max(apart, key=lambda name: apart[name][0])
    ce, base = apart[stage][0], max(base for _, base in apart.values())
    was, now = (None if run.first is None else run.first.alpha for run in (old, new))
    alpha = None if was is None or now is None else abs(was - now)
    same = ce <= tolerance and base <= BASE_TOLERANCE
    return Compared(cell=old.cell, stage=stage, ce_apart=ce, base_apart=base, alpha_apart=alpha, same=same)


def _stage_apart(was: Stage, now: Stage | None) -> tuple[float, float]:
    """The largest difference of a cross-entropy on test text, of the edited model and of the base."""
    if now is None:
        return float("inf"), float("inf")
    pairs = [(was.test[d], now.test[d]) for d in was.test]
    return _most([a.ce - b.ce for a, b in pairs]), _most([a.ce_base - b.ce_base for a, b in pairs])


def _most(differences: Sequence[float]) -> float:
    return max(map(abs, differences), default=0.0)
