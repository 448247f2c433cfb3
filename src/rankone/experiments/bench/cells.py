"""The runs of a benchmark, and the key of each: a hash of all that its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import JsonValue

from rankone.core.config import Config
from rankone.experiments.config import BenchConfig
from rankone.experiments.requests import Rate

# Raised when a change of the code makes results other than they were.
VERSION = 2
Purpose = Literal["tuning", "grid"]
# Tuning seeds lie apart from those of the grid.
FIRST_TUNING_SEED = 1000


class Cell(Config):
    """One run: method, retain set, forget tokens, seed, weight λ and learning rate; cap: where it is not the benchmark's."""

    method: str
    retain: str
    budget: int
    seed: int
    retain_weight: float
    learning_rate: float
    cap: float | None = None

    def rate(self, cap: float) -> Rate:
        """What it is fitted with; cap: the benchmark's."""
        margin = cap if self.cap is None else self.cap
        return Rate(learning_rate=self.learning_rate, retain_weight=self.retain_weight, margin=margin)

    def key(self, facts: Mapping[str, JsonValue]) -> str:
        """32 hex digits of its setting and of `facts` (facts_of), the same on every machine."""
        said = {"version": VERSION, "cell": self.model_dump(exclude_none=True), "facts": facts}
        text = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def facts_of(
    config: BenchConfig, retain: str, identities: Mapping[str, JsonValue], purpose: Purpose
) -> dict[str, JsonValue]:
    """What a run's result depends on beside its cell. identities: of model, parts, text and picked part.

    Of the configuration all that fits or their measurement read; not how many runs there are, nor of which methods.
    """
    named = (
        "forget",
        "judged",
        "trained",
        "evaluated",
        "fit",
        "cap",
        "selection_tokens",
        "retain_tokens",
        "retain_length",
    )
    values = config.model_dump(mode="json", include=set(named))
    measured: dict[str, JsonValue] = {"validation_tokens": config.validation_tokens}
    if purpose == "grid":
        measured |= {"test_tokens": config.test_tokens}
    if purpose == "grid" or config.sized == "only":
        measured |= {"sized": config.sized, "tolerance": config.tolerance}
    if config.matched and purpose == "grid":
        measured["matched"] = True
    if config.one_start:
        measured["one_start"] = True
    held: JsonValue = list(config.retain[retain])
    return {**values, **measured, "held": held, "identities": dict(identities), "purpose": purpose}


def tuning_cells(config: BenchConfig, method: str, retain: str) -> Iterator[Cell]:
    """Every rate of a method at every budget and tuning seed; none where there is nothing to choose."""
    rates = config.learning_rates(method)
    if len(rates) < 2:
        return
    for budget in config.budgets_of(method):
        weight = config.weight(method, budget)
        for rate in rates:
            for seed in range(config.tuning_seeds):
                yield Cell(
                    method=method,
                    retain=retain,
                    budget=budget,
                    seed=FIRST_TUNING_SEED + seed,
                    retain_weight=weight,
                    learning_rate=rate,
                )


def grid_cells(config: BenchConfig, method: str, retain: str, rates: Mapping[int, Rate]) -> Iterator[Cell]:
    """Every budget, seed and weight of a method at the rate chosen for the budget."""
    for budget in config.budgets_of(method):
        rate = rates[budget]
        for seed in range(config.seeds):
            for weight in config.weights_of(method, budget):
                yield Cell(
                    method=method,
                    retain=retain,
                    budget=budget,
                    seed=seed,
                    retain_weight=weight,
                    learning_rate=rate.learning_rate,
                    cap=None if rate.margin == config.cap else rate.margin,
                )
