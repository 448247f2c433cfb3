"""What moving parts does to validation text, ending with the first text that suffers too much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from rankone.edits.finding.scanner import Scanner
from rankone.edits.finding.text import FindText
from rankone.edits.finding.trade_off import Measured, Rule
from rankone.edits.scales import scale_edit
from rankone.metrics.damage_record import Damage
from rankone.parts.book import Named

Steps = Mapping[str, float]
"""Part → α − 1."""


def measuring(
    parts: Named, scanner: Scanner, rule: Rule, text: FindText
) -> Callable[[Steps, float], Measured]:
    """A measure of steps, each times a size; the α it states is 1 + that size.

    The text that came closest to its tolerance last time is looked at first, the target last.
    """
    order = list(text.others)

    def strain(domain: str, damage: Damage) -> float:
        if domain == text.about:
            return rule.tolerances.strain({}, damage.rise)
        return 0.0 if domain == text.target else rule.tolerances.strain({domain: damage.rise})

    def measure(steps: Steps, size: float) -> Measured:
        edit = scale_edit(parts, {name: 1 + size * step for name, step in steps.items()})
        damage = scanner.damage(edit, order, lambda d, seen: not strain(d, seen) <= 1)
        order.sort(key=lambda d: -strain(d, damage[d]) if d in damage else 0.0)
        rises = {d: seen.rise for d, seen in damage.items()}
        others = {d: rises[d] for d in text.spared if d in rises}
        about = None if text.about is None else rises.get(text.about)
        error = damage[text.target].error if text.target in damage else None
        return Measured(1 + size, rises.get(text.target, math.nan), others, about, error)

    return measure
