"""What the folder shows of kept edits: rises on validation text, and the responses of the parts that they turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rankone.metrics.damage_record import DomainDamage
from rankone.opening import Opening
from rankone.runtime.progress import meter
from rankone.show.portrait import Response, ResponseRow
from rankone.studio.kept.journal import Entry
from rankone.studio.views.worker import Measured
from rankone.studio.working.dials import FIRST, WHOLE, Dials
from rankone.studio.working.work import ALPHAS


def rises(dials: Dials, entries: Sequence[Entry]) -> dict[int, list[DomainDamage]]:
    """By the number of an edit, what it does to every domain: what the dials show of it in the end."""
    with meter("edits", len(entries)) as bar:
        measured, known = {}, {}  # a journal comes back to scales that it had before
        for entry in entries:
            scales = tuple(entry.scales.items())
            if scales not in known:
                known[scales] = _damages(dials, entry.scales, WHOLE)
            measured[entry.seq] = known[scales]
            bar.advance()
    return measured


def responses(opening: Opening, dials: Dials, parts: Sequence[str]) -> dict[str, Response]:
    """By part, cross-entropies of every domain as its scale moves from end to end."""
    measured = {}
    with meter("responses", len(parts)) as bar:
        for part in parts:
            rows = [
                ResponseRow(alpha=alpha, domain=d.domain, ce_base=d.base, ce=d.edited, rise=d.rise)
                for alpha in ALPHAS
                for d in _damages(dials, {part: alpha}, None)
            ]
            measured[part] = Response(rows, opening.bare.chance, FIRST)
            bar.advance()
    return measured


def _damages(dials: Dials, scales: Mapping[str, float], then: int | None) -> list[DomainDamage]:
    rows = [row for row in dials.measure(scales, then) if isinstance(row, Measured)]
    return [row.damage for row in rows if row.tokens == (then or FIRST)]
