"""The tables of a benchmark: every run, and its measurements by stage and domain (by method and budget: summary.py).

`fits.parquet` has a row per run, those that failed too. `bench.parquet` is long: a row per run, stage (STAGES in
ledger.py) and domain, on test text. Its columns hold those of the demo's `runs.parquet`: figures of the one draw the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypedDict, cast

import pyarrow as pa

from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.choice import score
from rankone.experiments.bench.ledger import Outcome, Stage
from rankone.experiments.tables import RunRow


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
    passage_tokens: list[int]
    passage_base: list[float]
    passage_rise: list[float]


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
        pa.field("passage_tokens", pa.list_(_I), nullable=False),
        *(pa.field(name, pa.list_(_F), nullable=False) for name in ("passage_base", "passage_rise")),
    ]
)
"""`bench.parquet`: error is the standard error of the rise over passages, nats per token; rise_p99 of single tokens;
passage_base and passage_rise, nats in sum over the scored tokens of each passage: the same passages in every run."""
_PASSAGES = ("passage_tokens", "passage_base", "passage_rise")


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
            "margin": cap if cell.cap is None else cell.cap,
        }
        for name, stage in outcome.stages.items():
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
            **dict(zip(_PASSAGES, map(list, zip(*result.passages, strict=True)), strict=True)),
        }
        for domain, result in stage.test.items()
    ]
