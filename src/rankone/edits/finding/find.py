"""Find the part to turn: parts of every source, shortlisted by their moments, ranked by what turning them does.

The rule is the same for all: the α at which the target's cross-entropy rises most (as far as `enough`) while no other
domain rises by more than its tolerance, measured on validation text. So every source's best part is a control for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rankone.edits.finding.candidates import Candidates, block_number, candidates, late_sites, require_asked
from rankone.edits.finding.found import Found, FoundPair, FoundPart
from rankone.edits.finding.measuring import Steps, measuring
from rankone.edits.finding.request import FindConfig
from rankone.edits.finding.scanner import Clean, Scanner, scanning
from rankone.edits.finding.several import best_several
from rankone.edits.finding.shortlist import Candidate
from rankone.edits.finding.text import FindText, read_text
from rankone.edits.finding.together import best_pair, pair_parts
from rankone.edits.finding.trade_off import Measured, Rule, best_scale
from rankone.edits.fitting.aim import CHANCE_SHARE
from rankone.edits.gradients import scale_gradients
from rankone.models.sites import Site
from rankone.parts.book import Book
from rankone.parts.moments import Moments, collect_moments
from rankone.parts.parts import Parts
from rankone.parts.storage import save_parts
from rankone.runtime.progress import meter
from rankone.workspace import Workspace


def find(workspace: Workspace, request: FindConfig) -> Found:
    """Measured parts for one behaviour, the best first; with `request.out` their vectors are saved as `parts`.

    Raises RankOneError for unknown domains, sites, sources and parts, and for text that is missing.
    """
    search, book = find_parts(workspace, request)
    if request.out is None:
        return search
    said = search.model_dump(mode="json", exclude={"out"})
    provenance = {"request": request.model_dump(mode="json"), "found": said}
    save_parts(_sets(search, book), workspace.model, request.out, provenance)
    return search.model_copy(update={"out": request.out})


def find_parts(
    workspace: Workspace,
    request: FindConfig,
    known: dict[str, Moments] | None = None,
    clean: Clean | None = None,
) -> tuple[Found, Book]:
    """As `find`, with a book that holds the measured parts.

    known: moments of training text that earlier calls for the same sites, tokens and seed took; those of now are put in.
    clean: what scanners of this model share.
    """
    clock = _Clock()
    sites = late_sites(workspace.model, request.sites)
    require_asked(workspace, request, sites)
    with clock.of("text"):
        text = read_text(workspace, request)
    with clock.of("moments"):
        moments = _moments(workspace, sites, text, {} if known is None else known)
    with clock.of("parts"):
        worth = candidates(workspace, request, sites, text, moments)
    with clock.of("gradients"):
        slopes = _slopes(workspace, worth, text)
    names = [site.name for site in sites]
    with clock.of("scan"), scanning(workspace.model, text.validation, names, clean) as scanner:
        rows, base = _scan(workspace, request, worth, text, slopes, scanner), scanner.base
    search = Found(
        of=request.of,
        against=list(text.spared),
        chance=workspace.chance,
        base={d: losses.mean for d, losses in base.items()},
        sites=names,
        tolerance=request.tolerance,
        parts=rows,
        seconds=clock.seconds,
        cpu_seconds=time.process_time() - clock.cpu,
    )
    pair = _together(workspace, request, search, worth.book, text, clock)
    if pair is not None:
        worth.book.add(pair_parts(pair, request.of, worth.book))
    update = {"pair": pair, "seconds": clock.seconds, "cpu_seconds": time.process_time() - clock.cpu}
    return search.model_copy(update=update), worth.book


def _together(
    workspace: Workspace, request: FindConfig, search: Found, book: Book, text: FindText, clock: _Clock
) -> FoundPair | None:
    """The best parts that move by one number, of the kinds that are asked for; None where there are none."""
    rule, made = _rule(request, workspace.chance, search.base[text.target]), []
    if request.together:
        with clock.of("pairs"):
            made.append(best_pair(workspace, search, book, text, rule))
    if request.several > 1:
        with clock.of("several"):
            made.append(best_several(workspace, search, book, text, rule, request.several))
    return max((pair for pair in made if pair is not None), key=lambda pair: pair.rise, default=None)


class _Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu = time.process_time()

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[stage] = time.monotonic() - start


def _moments(
    workspace: Workspace, sites: Sequence[Site], text: FindText, known: dict[str, Moments]
) -> dict[str, Moments]:
    """Moments of every training text; what is in `known` is not taken again, what is not is put there."""
    new = {d: blocks for d, blocks in text.training.items() if d not in known}
    with meter("moments", sum(blocks.ids.numel() for blocks in new.values())) as bar:
        for d, blocks in new.items():
            known[d] = collect_moments(workspace.model, sites, blocks.ids, blocks.valid, "input", bar.advance)
    return {d: known[d] for d in text.training}


def _slopes(workspace: Workspace, worth: Candidates, text: FindText) -> dict[str, float]:
    """∂CE/∂α of every candidate on the target's validation text, from one backward pass."""
    by_site: dict[str, list[str]] = {}
    for candidate in worth.chosen:
        by_site.setdefault(candidate.site, []).append(candidate.name)
    factors = {s: worth.book.stacked(names) for s, names in by_site.items()}
    together = Parts(factors).frozen()
    gradients = scale_gradients(replace(workspace, parts=together), text.validation[text.target]).tolist()
    return dict(zip((n for names in by_site.values() for n in names), gradients, strict=True))


def _scan(
    workspace: Workspace,
    request: FindConfig,
    worth: Candidates,
    text: FindText,
    slopes: Mapping[str, float],
    scanner: Scanner,
) -> list[FoundPart]:
    """Measure all candidates, block by block, so that what lies before a block is computed once."""
    by_block: dict[int, list[Candidate]] = {}
    for candidate in worth.chosen:
        by_block.setdefault(block_number(workspace.model, candidate.site), []).append(candidate)
    ranked: list[tuple[tuple[float, float], FoundPart]] = []
    base = scanner.base[text.target].mean
    rule = _rule(request, workspace.chance, base)
    with meter("measure parts", len(worth.chosen)) as bar:
        for together in by_block.values():
            with scanner.later([c.site for c in together]) as late:
                measure = measuring(worth.book, late, rule, text)
                for candidate in together:
                    best = _best(candidate.name, measure, rule, text)
                    removed = base + best.rise >= CHANCE_SHARE * workspace.chance
                    ranked.append((rule.score(best), _row(candidate, best, removed, slopes[candidate.name])))
                    bar.advance(1, f"{best.rise:+.2f} {candidate.name}")
    ranked.sort(key=lambda pair: pair[0], reverse=True)
    return [row for _, row in ranked]


def _rule(request: FindConfig, chance: float, base: float) -> Rule:
    enough = max(request.enough * chance - base, 0.0)
    return Rule(request.tolerance, enough, refine=request.refine)


def _best(name: str, measure: Callable[[Steps, float], Measured], rule: Rule, text: FindText) -> Measured:
    """The best α of a part by the rule."""
    best = best_scale(lambda alpha: measure({name: 1.0}, alpha - 1), rule)[0]
    return replace(best, others={d: best.others.get(d, 0.0) for d in text.spared})


def _row(candidate: Candidate, best: Measured, removed: bool, slope: float) -> FoundPart:
    return FoundPart(
        part=candidate.name,
        source=candidate.source,
        site=candidate.site,
        alpha=best.alpha,
        rise=best.rise,
        error=best.error,
        others=dict(best.others),
        worst=best.worst,
        worst_domain=best.worst_domain,
        about=best.about,
        removed=removed,
        separation=candidate.separation,
        coverage=candidate.coverage,
        slope=slope,
    )


def _sets(search: Found, book: Book) -> list[Parts]:
    """The measured parts by origin."""
    by_origin: dict[str, list[str]] = {}
    for row in search.parts:
        by_origin.setdefault(book.holding(row.part).origin, []).append(row.part)
    sets = [book.gathered(names) for names in by_origin.values()]
    return sets if search.pair is None else [*sets, pair_parts(search.pair, search.of, book)]
