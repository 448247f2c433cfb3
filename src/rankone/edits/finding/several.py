"""Several parts by one number: their proportions fitted on training text, their size set as a single part's is.

Where no part reads the behaviour alone, or not everywhere, parts of several sites do more at the same damage: one turned up
carries it to where another, turned down, acts on it. Which belong together is not seen from each alone. So all of them, one
closed-form direction per site and the measured parts, get a step of their own, and the steps are fitted together on training
text that the directions were not made from (the objective of fit.py: cross-entropy of the target up to a cap, KL on other
text). The largest are kept and fitted again. From there on their proportions stand: one number moves them all, and the rule
of trade_off.py sets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rankone.edits.finding.found import Found, FoundPair
from rankone.edits.finding.measuring import Steps, measuring
from rankone.edits.finding.names import CLOSED_FORM
from rankone.edits.finding.scanner import scanning
from rankone.edits.finding.text import FindText
from rankone.edits.finding.together import moved_together
from rankone.edits.finding.trade_off import Rule, best_scale
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.fit import fit_many
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Run
from rankone.edits.scales import Scales
from rankone.parts.book import Book
from rankone.parts.origins import origin_in
from rankone.parts.sources import origin_of
from rankone.workspace import Workspace

# Steps of the fit of all, and of those that are kept; Adam's rate on a step; λ; the cap on the target, × ln V.
ALL_STEPS, KEPT_STEPS, RATE, WEIGHT, CAP = 28, 14, 0.25, 45.0, 1.35
# Rows of the target at a step; of all other text one each.
TARGET_ROWS = 2
# Measured parts that join the closed-form ones.
MEASURED = 6


def best_several(
    workspace: Workspace, search: Found, book: Book, text: FindText, rule: Rule, count: int
) -> FoundPair | None:
    """At most `count` parts of one number; None where there are no two to choose from, or no size keeps the rule."""
    start = _start(search, book)
    if len(start) < 2:
        return None
    steps = fitted_steps(workspace, book, start, text, ALL_STEPS)
    if len(steps) > count:
        steps = fitted_steps(workspace, book, _largest(steps, count), text, KEPT_STEPS)
    sites = list(dict.fromkeys(book.locate(name)[0] for name in steps))
    with scanning(workspace.model, text.validation, sites) as scanner:
        measure = measuring(book, scanner, rule, text)
        near = replace(rule, start=1.0)
        measured, _ = best_scale(lambda alpha: measure(steps, alpha - 1), near, (1.0,))
    return None if measured.alpha == 1 else moved_together(measured, steps, search)


def _start(search: Found, book: Book) -> dict[str, float]:
    """Every closed-form direction and the best measured parts at no step, but the best one, which has its own."""
    wanted = origin_of(CLOSED_FORM, search.of)
    measured = [row.part for row in search.parts if row.alpha != 1][:MEASURED]
    names = [*measured, *(name for name in book.names() if origin_in(name) == wanted)]
    start = dict.fromkeys(names, 0.0)
    if measured:
        start[search.pick.part] = search.pick.alpha - 1
    return start


def fitted_steps(
    workspace: Workspace, book: Book, start: Steps, text: FindText, steps: int
) -> dict[str, float]:
    """Part → α − 1, fitted together from where they start on training text of the target and of all that is to spare."""
    rows = dict(text.further)
    target = rows.pop(text.target)
    method = Scales(book, list(start), "several", [1 + step for step in start.values()])
    config = FitConfig(
        steps=steps, patience=steps, target="sampled", retain_rows=len(rows), forget_rows=TARGET_ROWS
    )
    run = Run(target, 0, WEIGHT, RATE, CAP)
    (fit,) = fit_many(workspace.model, method, [run], RetainText(workspace.model, rows), config)
    return {name: float(alpha) - 1 for name, alpha in zip(start, fit.parameters["alpha"], strict=True)}


def _largest(steps: Steps, count: int) -> dict[str, float]:
    kept: Sequence[str] = sorted(steps, key=lambda name: -abs(steps[name]))[:count]
    return {name: steps[name] for name in kept}
