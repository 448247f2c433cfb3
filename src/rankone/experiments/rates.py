"""Choosing each method's learning rate, retain weight and cap per budget, on validation text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from pydantic import Field, JsonValue

from rankone.core.artifact import environment, refuse_existing, write_json
from rankone.core.config import Config
from rankone.edits.methods.registry import kind_named
from rankone.experiments.bench.cells import FIRST_TUNING_SEED, Cell
from rankone.experiments.bench.choice import best_rates, score
from rankone.experiments.bench.ledger import Outcome
from rankone.experiments.bench.run import Benchmark, Grid
from rankone.experiments.requests import Rate
from rankone.runtime.scratch import scratch

MARGINS = (1.0, 1.05, 1.1)
"""Caps that are tried, in units of ln V."""


class Scored(Rate):
    """One fit of a setting and its score on validation text (`select`)."""

    method: str
    budget: int
    seed: int
    forget_ce: float
    retain_rise: float
    steps: int
    score: float


class SelectedRates(Config):
    """What `select-rates` writes: the best rate by method and budget, and every setting that was tried."""

    rates: dict[str, dict[int, Rate]]
    settings: tuple[Scored, ...]
    provenance: Mapping[str, JsonValue] = Field(default_factory=environment)


def settings(method: str) -> Iterator[tuple[float, float, float]]:
    """All (learning rate, λ, cap) that are tried of a method."""
    kind = kind_named(method)
    return product(kind.learning_rates, kind.retain_weights, MARGINS)


def select(benchmark: Benchmark, out: Path, seeds: int = 2) -> SelectedRates:
    """Fit every (rate, λ, cap) of the grids at every budget and seed, score on validation text, write the best to `out`.

    The score is that of every benchmark (bench/choice.py). Only the forget domain and the judged one are looked at.
    """
    refuse_existing(out)
    config = benchmark.config
    tuning = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + seeds)
    benchmark.require_text(tuning)
    cells = [
        Cell(
            method=method,
            retain=config.pick_retain,
            budget=budget,
            seed=seed,
            retain_weight=weight,
            learning_rate=rate,
            cap=cap,
        )
        for method in config.methods
        for budget in config.budgets_of(method)
        for seed in tuning
        for rate, weight, cap in settings(method)
    ]
    with scratch("rates") as folder:
        outcomes = Grid(benchmark, folder, whole=True).outcomes(cells, "tuning", "choose rates")
    chosen: dict[str, dict[int, Rate]] = {method: {} for method in config.methods}
    for (method, _, budget), rate in best_rates(outcomes, benchmark.judged, config.cap).items():
        chosen[method][budget] = rate
    scored = tuple(_scored(benchmark, outcome) for outcome in outcomes)
    selected = SelectedRates(rates=chosen, settings=scored)
    write_json(out, selected.model_dump(mode="json"), new=True, constants=True)
    return selected


def _scored(benchmark: Benchmark, outcome: Outcome) -> Scored:
    assert outcome.first is not None  # What fails has ended the whole.
    cell, config, results = outcome.cell, benchmark.config, outcome.first.validation
    return Scored(
        **dict(cell.rate(config.cap)),
        method=cell.method,
        budget=cell.budget,
        seed=cell.seed,
        forget_ce=results[config.forget].ce,
        retain_rise=results[config.judged].rise,
        steps=outcome.steps,
        score=score(results, benchmark.judged),
    )
