"""What is chosen on validation text: a rate for every method, retain set and budget, and how large a fit is."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from rankone.edits.adapters import Method
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.size import lower_end
from rankone.experiments.bench.ledger import DomainResult, Outcome
from rankone.experiments.bench.measuring import Measure
from rankone.experiments.requests import Rate
from rankone.experiments.tables import DAMAGE_BAR

COARSE = tuple(2.0 ** (k / 2) for k in range(-12, 11))
"""Multiples of the fitted change that are tried first, in steps of √2; then eleven about the best, in steps of 6%."""
FINE = tuple(2.0 ** (k / 12) for k in range(-5, 6))


def size_ends() -> tuple[float, float]:
    """The smallest and the largest multiple that are tried: a best size there may lie further out."""
    return COARSE[0] * FINE[0], COARSE[-1] * FINE[-1]


def score(results: Mapping[str, DomainResult], aim: Aim, surely: bool = False) -> float:
    """What a run is chosen by, on validation text: removal up to chance, less damage, damage beyond the bar ten times more.

    surely: removal is the lower end of its one-sided 90% interval over passages (Student's t). −∞ where a result is not
    finite.
    """
    forget, damage = results[aim.domain], max(results[d].rise for d in aim.retain)
    removed = _lower(forget) if surely else forget.ce
    worth = min(removed, aim.chance) - forget.ce_base - damage - 10 * max(0.0, damage - DAMAGE_BAR)
    return worth if math.isfinite(worth) else -math.inf


def _lower(result: DomainResult) -> float:
    count = len(result.passages)
    if count < 2 or result.error is None:
        return result.ce
    return lower_end(result.ce, result.error, count)


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


def best_size(
    measure: Measure, method: Method, parameters: Mapping[str, Tensor], aim: Aim, at_once: int
) -> float:
    """The multiple of a fitted change with the best score; of equal ones the smallest. at_once: multiples in one forward.

    So it takes validation text surely to chance, if an edit in that direction can at little damage, and else is the best
    trade-off: no fit is judged by the few tokens that it was fitted to, nor by how validation and test text differ.
    """

    def best(sizes: Sequence[float]) -> float:
        """Of these sizes the one with the best score."""
        scores = list[float]()
        for start in range(0, len(sizes), at_once):
            each = [method.resized(parameters, size) for size in sizes[start : start + at_once]]
            stacked = {name: torch.stack([one[name] for one in each]) for name in each[0]}
            scores += [score(results, aim, surely=True) for results in measure.results(method, stacked)]
        return sizes[scores.index(max(scores))]

    coarse = best(COARSE)
    return best([coarse * step for step in FINE])
