"""Choosing each method's learning rate and retain weight per budget, on validation text."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from rankone.core.artifact import environment, refuse_existing, write_json
from rankone.edits.fitting.run import Fit, Run
from rankone.edits.methods.registry import kind_named
from rankone.experiments.job import Job
from rankone.experiments.measure import edited_cross_entropies
from rankone.experiments.tables import DAMAGE_BAR
from rankone.metrics.cross_entropy import cross_entropies
from rankone.runtime.progress import meter

MARGINS = (1.0, 1.05, 1.1)
"""Caps that are tried, in units of ln V."""
VALIDATION_TOKENS = 700


def settings(method: str) -> Iterator[tuple[float, float, float]]:
    """All (learning rate, λ, cap) that are tried of a method."""
    kind = kind_named(method)
    return product(kind.learning_rates, kind.retain_weights, MARGINS)


def select(job: Job, out: Path, seeds: int = 2) -> dict[str, Any]:
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
    rows: list[dict[str, Any]] = []
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
                rows.append(_row(job, method, fit, base, edited))
                bar.advance(1)
    chosen = _choose(rows)
    write_json(out, {"rates": chosen, "settings": rows, "provenance": environment()})
    return chosen


def _row(job: Job, method: str, fit: Fit, base: dict[str, float], edited: dict[str, float]) -> dict[str, Any]:
    forget, retain = job.config.forget, job.config.retain
    damage = edited[retain] - base[retain]
    removal = min(edited[forget], job.workspace.chance) - base[forget]
    return {
        "method": method,
        "budget": fit.run.forget.tokens,
        "seed": fit.run.seed,
        "learning_rate": fit.run.learning_rate,
        "retain_weight": fit.run.retain_weight,
        "margin": fit.run.margin,
        "forget_ce": edited[forget],
        "retain_rise": damage,
        "steps": fit.steps,
        "score": removal - damage - 10 * max(0.0, damage - DAMAGE_BAR),
    }


def _choose(rows: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    scores: dict[tuple[str, int], dict[tuple[float, float, float], list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for row in rows:
        scores[row["method"], row["budget"]][
            row["learning_rate"], row["retain_weight"], row["margin"]
        ].append(row["score"])
    chosen: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for (method, budget), settings in scores.items():
        rate, weight, margin = max(settings, key=lambda key: sum(settings[key]) / len(settings[key]))
        chosen[method][str(budget)] = {"learning_rate": rate, "retain_weight": weight, "margin": margin}
    return dict(chosen)
