"""Two parts by one number: a second part that makes the best one do more at the same damage.

A part reads one position at a time, so it leaves alone what it does not answer to, the middle of words say. A second part
before it can carry the behaviour there: turned up, it makes the first one fire where it did not. Neither need do much alone,
so the second is looked for beside the first, at a few shares of the steps that both were measured at, and the best of these
pairs are brought to their size by the rule that single parts are (trade_off.py). Both steps keep their proportion: a pair is
one direction of the weights, saved as parts that share one scale.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from rankone.edits.finding.found import Found, FoundPair
from rankone.edits.finding.measuring import Steps, measuring
from rankone.edits.finding.scanner import scanning
from rankone.edits.finding.text import FindText
from rankone.edits.finding.trade_off import Measured, Rule, best_scale
from rankone.edits.fitting.aim import CHANCE_SHARE
from rankone.parts.book import Book
from rankone.parts.parts import Parts
from rankone.runtime.progress import meter
from rankone.workspace import Workspace

ORIGIN = "together"
# Of the first part's own step, and of the second's, on either side.
FIRST, SECOND = 0.7, (-0.6, -0.25, 0.25, 0.6)
# Parts tried beside the first, the best alone first; pairs that are brought to their size.
TRIED, FINALISTS = 24, 2


def best_pair(
    workspace: Workspace, search: Found, book: Book, text: FindText, rule: Rule
) -> FoundPair | None:
    """The best pair of the best part and another measured one; None where no other part has a step."""
    first, others = search.pick, [row for row in search.parts[1:] if row.alpha != 1][:TRIED]
    if first.alpha == 1 or not others:
        return None
    sites = list(dict.fromkeys([first.site, *(row.site for row in others)]))
    tried: list[tuple[Measured, Steps]] = []
    with (
        meter("measure pairs", len(others) * len(SECOND)) as bar,
        scanning(workspace.model, text.validation, sites) as scanner,
    ):
        measure = measuring(book, scanner, rule, text)
        for row in others:
            for share in SECOND:
                steps = {first.part: FIRST * (first.alpha - 1), row.part: share * abs(row.alpha - 1)}
                tried.append((measure(steps, 1.0), steps))
                bar.advance(1, row.part)
        finalists = sorted(tried, key=lambda pair: rule.score(pair[0]), reverse=True)[:FINALISTS]
        near = replace(rule, start=1.0)
        sized = [(best_scale(lambda a, s=steps: measure(s, a - 1), near)[0], steps) for _, steps in finalists]
    measured, steps = max(sized, key=lambda pair: rule.score(pair[0]))
    if measured.alpha == 1:
        return None
    return moved_together(measured, steps, search)


def moved_together(measured: Measured, steps: Steps, search: Found) -> FoundPair:
    """The record of parts that were measured at a size of their steps."""
    size = measured.alpha - 1
    return FoundPair(
        steps={name: size * step for name, step in steps.items()},
        names=_names(steps, search.of),
        rise=measured.rise,
        error=measured.error,
        others=dict(measured.others),
        worst=measured.worst,
        worst_domain=measured.worst_domain,
        about=measured.about,
        removed=search.base[search.of] + measured.rise >= CHANCE_SHARE * search.chance,
    )


def _names(steps: Steps, of: str) -> tuple[str, ...]:
    """What the parts of a pair are called in the set that `pair_parts` makes, in the order of the steps."""
    sites = [name.rpartition("/")[2].rpartition(":")[0] for name in steps]
    return tuple(f"{ORIGIN}-{of}/{site}:{sites[:i].count(site)}" for i, site in enumerate(sites))


def pair_parts(pair: FoundPair, of: str, book: Book) -> Parts:
    """The parts of a pair as `together-OF/SITE:NUMBER`, their write directions times their steps: one scale moves both.

    At α = 0 the pair is at the size it was found with.
    """
    read: dict[str, list[torch.Tensor]] = {}
    write: dict[str, list[torch.Tensor]] = {}
    for name, step in pair.steps.items():
        site, (v, u) = book.locate(name)[0], book.vectors(name)
        read.setdefault(site, []).append(v)
        write.setdefault(site, []).append(-step * u)
    factors = {site: (torch.stack(read[site], dim=1), torch.stack(write[site])) for site in read}
    return Parts(factors, f"{ORIGIN}-{of}", made={"source": ORIGIN, "steps": dict(pair.steps)}).frozen()
