"""What is chosen on validation text: a rate for every method, retain set and budget, by the scores of its runs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from rankone.edits.fitting.aim import Aim
from rankone.experiments.bench.ledger import DomainResult, Outcome
from rankone.experiments.requests import Rate
from rankone.experiments.tables import DAMAGE_BAR


def score(results: Mapping[str, DomainResult], aim: Aim) -> float:
    """What a run is chosen by, on validation text: removal up to chance, less damage, damage beyond the bar ten times more.

    −∞ for results that are not finite.
    """
    forget, damage = results[aim.domain], max(results[d].rise for d in aim.retain)
    worth = min(forget.ce, aim.chance) - forget.ce_base - damage - 10 * max(0.0, damage - DAMAGE_BAR)
    return worth if math.isfinite(worth) else -math.inf


def best_rates(outcomes: Iterable[Outcome], aim: Aim, cap: float) -> dict[tuple[str, str, int], Rate]:
    """By method, retain set and budget: of the rates, weights and caps that ran the one with the best mean score."""
    scores: dict[tuple[str, str, int], dict[Rate, list[float]]] = defaultdict(lambda: defaultdict(list))
    for outcome in outcomes:
        cell, stage = outcome.cell, outcome.first
        worth = -math.inf if stage is None else score(stage.validation, aim)
        scores[cell.method, cell.retain, cell.budget][cell.rate(cap)].append(worth)
    return {
        place: max(tried, key=lambda rate: sum(tried[rate]) / len(tried[rate]))
        for place, tried in scores.items()
    }
