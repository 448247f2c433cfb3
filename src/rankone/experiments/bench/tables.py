"""The tables of a benchmark: every run, its measurements by stage and domain, and what each method did at each budget.

`fits.parquet` has a row per run, those that failed too. `bench.parquet` is long: a row per run, stage (as fitted, or brought
to size) and domain, on test text. Its columns hold those of the demo's `runs.parquet`: figures of the one draw the other.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypedDict, cast

import pyarrow as pa

from rankone.core.config import Record
from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.ledger import DomainResult, Outcome, Stage
from rankone.experiments.tables import DAMAGE_BAR, RunRow
from rankone.metrics.damage import half_width
from rankone.metrics.wilson import wilson_interval


class FitRow(TypedDict):
    """A row of `fits.parquet`."""

    key: str
    method: str
    retain_set: str
    status: str
    budget: int
    seed: int
    steps: int
    start: int
    retain_weight: float
    learning_rate: float
    seconds: float
    loss: float | None
    error_message: str | None


class BenchRow(RunRow):
    """A row of `bench.parquet`."""

    key: str
    retain_set: str
    stage: str
    status: str
    start: int
    size: float | None
    validation_score: float | None
    rise_p99: float
    bits_per_byte: float
    error: float | None


_F, _I, _S = pa.float64(), pa.int64(), pa.string()
FITS = pa.schema(
    [
        *(pa.field(name, _S, nullable=False) for name in ("key", "method", "retain_set", "status")),
        *(pa.field(name, _I, nullable=False) for name in ("budget", "seed", "steps", "start")),
        *(pa.field(name, _F, nullable=False) for name in ("retain_weight", "learning_rate", "seconds")),
        pa.field("loss", _F),
        pa.field("error_message", _S),
    ]
)
"""`fits.parquet`: loss is the smoothed one at the end, null where nothing was fitted; seconds: the stack's share."""
BENCH = pa.schema(
    [
        *(
            pa.field(name, _S, nullable=False)
            for name in ("key", "method", "retain_set", "stage", "status", "domain", "role")
        ),
        *(pa.field(name, _I, nullable=False) for name in ("budget", "seed", "steps", "start")),
        *(pa.field(name, _F, nullable=False) for name in ("retain_weight", "learning_rate", "margin")),
        *(pa.field(name, _F) for name in ("size", "alpha", "validation_score")),
        *(
            pa.field(name, _F, nullable=False)
            for name in ("ce_base", "ce", "rise", "rise_p99", "bits_per_byte")
        ),
        pa.field("error", _F),
    ]
)
"""`bench.parquet`: error is the standard error of the rise over passages, nats per token; rise_p99 of single tokens."""
SUMMARY = pa.schema(
    [
        *(pa.field(name, _S, nullable=False) for name in ("method", "retain_set", "stage", "domain", "role")),
        *(pa.field(name, _I, nullable=False) for name in ("budget", "seeds", "successes", "failed")),
        *(
            pa.field(name, _F, nullable=False)
            for name in ("retain_weight", "ce", "rise", "success_low", "success_high")
        ),
        *(
            pa.field(name, _F)
            for name in ("seeds_low", "seeds_high", "passage_error", "alpha_low", "alpha_high")
        ),
    ]
)
"""`summary.parquet`: means over seeds at the λ chosen on validation text; seeds_low and seeds_high: 95% interval of the
rise over seeds (Student's t); passage_error: root mean square of the seeds' standard errors over passages."""


def bench_rows(outcomes: Iterable[Outcome], aim: Aim, cap: float) -> list[BenchRow]:
    """Rows of `bench.parquet`."""
    rows: list[dict[str, object]] = []
    for outcome in outcomes:
        cell = outcome.cell
        about: dict[str, object] = {
            "key": outcome.key,
            "method": cell.method,
            "retain_set": cell.retain,
            "status": outcome.status,
            "budget": cell.budget,
            "seed": cell.seed,
            "steps": outcome.steps,
            "start": outcome.start,
            "retain_weight": cell.retain_weight,
            "learning_rate": cell.learning_rate,
            "margin": cap,
        }
        stages = {"fitted": outcome.fitted, "sized": outcome.sized}
        for name, stage in stages.items():
            if stage is not None:
                rows += [{**about, "stage": name, **row} for row in _stage_rows(stage, aim)]
    return cast("list[BenchRow]", rows)


def fit_rows(outcomes: Iterable[Outcome]) -> list[FitRow]:
    """Rows of `fits.parquet`."""
    return [
        {
            "key": outcome.key,
            "method": outcome.cell.method,
            "retain_set": outcome.cell.retain,
            "status": outcome.status,
            "budget": outcome.cell.budget,
            "seed": outcome.cell.seed,
            "steps": outcome.steps,
            "start": outcome.start,
            "retain_weight": outcome.cell.retain_weight,
            "learning_rate": outcome.cell.learning_rate,
            "seconds": outcome.seconds,
            "loss": outcome.loss if math.isfinite(outcome.loss) else None,
            "error_message": outcome.error,
        }
        for outcome in outcomes
    ]


def _stage_rows(stage: Stage, aim: Aim) -> list[dict[str, object]]:
    chosen = score(stage.validation, aim)
    return [
        {
            "size": stage.size,
            "alpha": stage.alpha,
            "validation_score": chosen,
            "domain": domain,
            "role": aim.role(domain),
            "ce_base": result.ce_base,
            "ce": result.ce,
            "rise": result.rise,
            "error": result.error,
            "rise_p99": result.rise_p99,
            "bits_per_byte": result.bits,
        }
        for domain, result in stage.test.items()
    ]


def score(results: Mapping[str, DomainResult], aim: Aim) -> float:
    """What a run is chosen by, on validation text: removal up to chance, less damage, damage beyond the bar ten times more.

    The score of `select-rates` (experiments/rates.py). −∞ for results that are not finite.
    """
    forget, damage = results[aim.domain], max(results[d].rise for d in aim.retain)
    worth = min(forget.ce, aim.chance) - forget.ce_base - damage - 10 * max(0.0, damage - DAMAGE_BAR)
    return worth if math.isfinite(worth) else -math.inf


def chosen_weights(rows: Sequence[BenchRow]) -> dict[tuple[str, str, str, int], float]:
    """λ by (method, retain set, stage, budget): the one with the best mean score over seeds on validation text."""
    scores: dict[tuple[str, str, str, int], dict[float, dict[int, float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in rows:
        worth = row["validation_score"]
        if worth is not None:
            scores[_place(row)][row["retain_weight"]][row["seed"]] = worth
    return {
        place: max(by_weight, key=lambda w: (sum(by_weight[w].values()) / len(by_weight[w]), -w))
        for place, by_weight in scores.items()
    }


def _place(row: BenchRow) -> tuple[str, str, str, int]:
    return row["method"], row["retain_set"], row["stage"], row["budget"]


class Cellwise(Record):
    """One method at one budget under one retain set and stage, at the chosen λ: its runs by seed, domain → row."""

    method: str
    retain_set: str
    stage: str
    budget: int
    retain_weight: float
    seeds: dict[int, dict[str, dict[str, float | None]]]
    failed: int

    def values(self, domain: str, column: str) -> list[float]:
        """A column of a domain over seeds."""
        values = (seed.get(domain, {}).get(column) for seed in self.seeds.values())
        return [value for value in values if value is not None]

    def successes(self, aim: Aim) -> int:
        """Seeds at chance whose judged domains rose by less than the bar."""
        return sum(
            aim.removed(_known(seed[aim.domain]["ce"]))
            and max(_known(seed[d]["rise"]) for d in aim.retain) < DAMAGE_BAR
            for seed in self.seeds.values()
        )


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


def gathered(rows: Sequence[BenchRow], stage: str, fits: Sequence[FitRow] = ()) -> list[Cellwise]:
    """Methods by retain set and budget at the λ chosen for them; of `fits` those that failed or diverged are counted."""
    weights = chosen_weights(rows)
    seeds: dict[tuple[str, str, str, int], dict[int, dict[str, dict[str, float | None]]]] = defaultdict(dict)
    failed: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for row in fits:
        if row["status"] != "ok":
            failed[row["method"], row["retain_set"], row["budget"]].add(row["key"])
    for row in rows:
        place = _place(row)
        if row["stage"] == stage and row["retain_weight"] == weights.get(place):
            kept: dict[str, float | None] = {
                "ce": row["ce"],
                "rise": row["rise"],
                "error": row["error"],
                "alpha": row["alpha"],
                "ce_base": row["ce_base"],
                "rise_p99": row["rise_p99"],
            }
            seeds[place].setdefault(row["seed"], {})[row["domain"]] = kept
    return [
        Cellwise(
            method=place[0],
            retain_set=place[1],
            stage=stage,
            budget=place[3],
            retain_weight=weights[place],
            seeds=by_seed,
            failed=len(failed[place[0], place[1], place[3]]),
        )
        for place, by_seed in seeds.items()
    ]


def interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """95% interval of the mean over seeds; (None, None) for a single one."""
    count = len(values)
    if count < 2:
        return None, None
    mean = sum(values) / count
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1) / count)
    half = half_width(spread, count)
    return mean - half, mean + half


def summary_rows(rows: Sequence[BenchRow], aim: Aim, fits: Sequence[FitRow] = ()) -> list[dict[str, object]]:
    """Rows of `summary.parquet`."""
    return [
        _summary_row(cell, domain, aim)
        for stage in ("fitted", "sized")
        for cell in gathered(rows, stage, fits)
        for domain in dict.fromkeys(d for seed in cell.seeds.values() for d in seed)
    ]


def _summary_row(cell: Cellwise, domain: str, aim: Aim) -> dict[str, object]:
    rises, errors = cell.values(domain, "rise"), cell.values(domain, "error")
    alphas, good = cell.values(domain, "alpha"), cell.successes(aim)
    low, high = interval(rises)
    success_low, success_high = wilson_interval(good / len(cell.seeds), len(cell.seeds))
    ces = cell.values(domain, "ce")
    return {
        **{
            key: getattr(cell, key)
            for key in ("method", "retain_set", "stage", "budget", "retain_weight", "failed")
        },
        "domain": domain,
        "role": aim.role(domain),
        "seeds": len(cell.seeds),
        "successes": good,
        "success_low": success_low,
        "success_high": success_high,
        "ce": sum(ces) / len(ces),
        "rise": sum(rises) / len(rises),
        "seeds_low": low,
        "seeds_high": high,
        "passage_error": math.sqrt(sum(e * e for e in errors) / len(errors)) if errors else None,
        "alpha_low": min(alphas) if alphas else None,
        "alpha_high": max(alphas) if alphas else None,
    }
