"""Choosing each method's learning rate and retain weight per budget, on validation text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from pydantic import Field, JsonValue

from rankone.core.artifact import environment, refuse_existing, write_json
from rankone.core.config import Config
from rankone.edits.fitting.run import Fit, Run, describe
from rankone.edits.methods.registry import kind_named
from rankone.experiments.job import Job
from rankone.experiments.measure import edited_cross_entropies
from rankone.experiments.requests import Rate
from rankone.experiments.tables import DAMAGE_BAR
from rankone.metrics.cross_entropy import cross_entropies
from rankone.runtime.progress import meter

MARGINS = (1.0, 1.05, 1.1)
"""Caps that are tried, in units of ln V."""
VALIDATION_TOKENS = 700


class Scored(Rate):
    """One fit of a setting and its score on validation text (`select`)."""

    method: str
    budget: int
    seed: int
    forget_ce: float
    retain_rise: float
    steps: int
    score: float

    @property
    def rate(self) -> Rate:
        """The setting alone."""
        return Rate(learning_rate=self.learning_rate, retain_weight=self.retain_weight, margin=self.margin)


class SelectedRates(Config):
    """What `select-rates` writes: the best rate by method and budget, and every setting that was tried."""

    rates: dict[str, dict[int, Rate]]
    settings: tuple[Scored, ...]
    provenance: Mapping[str, JsonValue] = Field(default_factory=environment)


def settings(method: str) -> Iterator[tuple[float, float, float]]:
    """All (learning rate, λ, cap) that are tried of a method."""
    kind = kind_named(method)
    return product(kind.learning_rates, kind.retain_weights, MARGINS)


def select(job: Job, out: Path, seeds: int = 2) -> SelectedRates:
    """Fit every (rate, λ, cap) of the grids at every budget and seed, score on validation text, write the best to `out`.

    Score of a setting: mean over seeds of min(CE_forget, chance) − CE_base,forget − 10 · max(0, rise_retain − 0.1)
    − rise_retain: removal up to chance, damage counted once, and damage beyond the bar counted ten times more.
    Only the forget and the retain domain are looked at.
    """
    refuse_existing(out)
    config = job.config
    text = {
        d: job.workspace.blocks(d, "validation", VALIDATION_TOKENS) for d in (config.forget, config.retain)
    }
    base = cross_entropies(job.workspace.model, text)
    scored: list[Scored] = []
    for method, budgets in config.budgets.items():
        runs = [
            Run(job.forget_text(budget, 1000 + seed), 1000 + seed, weight, rate, margin)
            for budget in budgets
            for seed in range(seeds)
            for rate, weight, margin in settings(method)
        ]
        with meter(f"fit {method}", job.fit_steps(method, runs)) as bar:
            fits = job.fit(method, runs, bar)
        with meter(f"score {method}", len(fits)) as bar:
            for fit in fits:
                edited = edited_cross_entropies(job.workspace.model, fit.edit, text)
                scored.append(_scored(job, method, fit, base, edited))
                bar.advance(1)
    selected = SelectedRates(rates=_choose(scored), settings=tuple(scored))
    write_json(out, selected.model_dump(mode="json"), new=True, constants=True)
    return selected


def _scored(job: Job, method: str, fit: Fit, base: dict[str, float], edited: dict[str, float]) -> Scored:
    forget, retain = job.config.forget, job.config.retain
    damage = edited[retain] - base[retain]
    removal = min(edited[forget], job.workspace.chance) - base[forget]
    score = removal - damage - 10 * max(0.0, damage - DAMAGE_BAR)
    measured = {"forget_ce": edited[forget], "retain_rise": damage, "score": score}
    return Scored(method=method, **describe(fit), **measured)


def _choose(scored: list[Scored]) -> dict[str, dict[int, Rate]]:
    scores: dict[tuple[str, int], dict[Rate, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in scored:
        scores[row.method, row.budget][row.rate].append(row.score)
    chosen: dict[str, dict[int, Rate]] = defaultdict(dict)
    for (method, budget), tried in scores.items():
        chosen[method][budget] = max(tried, key=lambda rate: sum(tried[rate]) / len(tried[rate]))
    return dict(chosen)
