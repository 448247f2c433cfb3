"""From the sites of a model and the moments of text to the parts worth measuring, of every source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from rankone.core.errors import RankOneError
from rankone.edits.finding.names import CLOSED_FORM, DECOMPOSITION, FINDABLE, SHARPENED
from rankone.edits.finding.request import FindConfig
from rankone.edits.finding.shortlist import (
    Candidate,
    TextMoments,
    apart_coordinates,
    separations,
    shortlist,
)
from rankone.edits.finding.text import FindText
from rankone.edits.sharpen import refitted
from rankone.models.blocks import blocks_of
from rankone.models.sites import Site, find_sites
from rankone.parts.book import Book
from rankone.parts.moments import Moments, combined
from rankone.parts.origins import origin_in
from rankone.parts.parts import Parts
from rankone.parts.sources import make_parts, source_named
from rankone.workspace import Workspace

# Models with no more blocks than this are searched whole, larger ones from the middle on.
SMALL = 8
COORDINATES = ("neuron", "channel")


@dataclass(frozen=True)
class Candidates:
    """The parts worth measuring, source by source, and a book that holds them."""

    chosen: list[Candidate]
    book: Book


def late_sites(model: nn.Module, patterns: Sequence[str] = ()) -> list[Site]:
    """The sites that match `patterns`; without any those of the later half of the blocks, or all of a small model."""
    if patterns:
        return find_sites(model, patterns)
    sites = find_sites(model, None)
    blocks = {site.name: block_number(model, site.name) for site in sites}
    count = max(blocks.values()) + 1
    first = count // 2 if count > SMALL else 0
    return [site for site in sites if blocks[site.name] >= first]


def block_number(model: nn.Module, site: str) -> int:
    """Index of the block that a site lies in; 0 where blocks are not in one list."""
    blocks = blocks_of(model, [site])
    return 0 if blocks is None else blocks.first


def require_asked(workspace: Workspace, request: FindConfig, sites: Sequence[Site]) -> None:
    """Raise RankOneError, before anything is computed, for sources and parts asked for that cannot be had."""
    if DECOMPOSITION in request.sources:
        workspace.require_parts()
    book = Book([] if workspace.parts is None else [workspace.parts], workspace.model)
    known = {site.name for site in sites}
    for name in request.also:
        if book.locate(name)[0] not in known:
            raise RankOneError(
                f"'{name}' lies in none of the searched sites: name its site with --sites too."
            )


def candidates(
    workspace: Workspace,
    request: FindConfig,
    sites: Sequence[Site],
    text: FindText,
    moments: Mapping[str, Moments],
) -> Candidates:
    """`request.shortlist` parts of each source that has any at these sites, and the parts asked for by name.

    Of closed-form ones, one per site, `request.sites_measured` times as many: moments of what sites read do not tell which
    of them is the one to write at.
    """
    others = {d: moments[d] for d in text.others}
    texts = TextMoments(moments[text.target], others, _strictness(request, text))
    shares = [request.about_weight if d == text.about else 1.0 for d in text.others]
    mean = combined(list(others.values()), shares)
    book = Book(model=workspace.model)
    chosen: list[Candidate] = []
    wanted = request.sources or _available(workspace)
    for source in wanted:
        parts = None if source == SHARPENED else _parts(workspace, request, source, sites, texts, mean)
        if parts is None:
            continue
        count = request.shortlist * (request.sites_measured if source == CLOSED_FORM else 1)
        best = shortlist(parts, source, texts, count)
        kept = parts.chosen([c.name for c in best])
        whole = source == DECOMPOSITION or (source == CLOSED_FORM and request.several > 1)
        book.add(parts if whole else kept)
        chosen += best
        if SHARPENED in wanted and source in (*COORDINATES, DECOMPOSITION):
            sharper = refitted(kept, request.of, texts.target, mean, request.ridge)
            book.add(sharper)
            chosen += shortlist(sharper, SHARPENED, texts, request.shortlist)
    return Candidates(chosen + _asked(workspace, request, chosen, book, texts), book)


def _strictness(request: FindConfig, text: FindText) -> dict[str, float]:
    """Tolerance of the tightest text over that of each: how much its mean square counts in a shortlist."""
    allowed = {
        d: request.tolerance.about if d == text.about else request.tolerance.of(d) for d in text.others
    }
    tightest = min(allowed.values())
    return {d: tightest / tolerated for d, tolerated in allowed.items()}


def _available(workspace: Workspace) -> list[str]:
    return [name for name in FINDABLE if name != DECOMPOSITION or workspace.parts is not None]


def _parts(
    workspace: Workspace,
    request: FindConfig,
    source: str,
    sites: Sequence[Site],
    texts: TextMoments,
    mean: Moments,
) -> Parts | None:
    """All parts of a source at the sites (of coordinates, the most apart of each site); None where it has none."""
    if source == DECOMPOSITION:
        return _decomposed(workspace, sites)
    fitting = [s for s in sites if source_named(source).fits(s)]
    if not fitting:
        return None
    numbers = None
    if source in COORDINATES:
        numbers = apart_coordinates(fitting, texts, request.shortlist)
    options = {"contrast": request.contrast, "ridge": request.ridge, "seed": request.seed}
    return make_parts(source, fitting, request.of, texts.target, mean, numbers=numbers, **options)


def _decomposed(workspace: Workspace, sites: Sequence[Site]) -> Parts | None:
    """The opened parts at the sites that were chosen."""
    parts = workspace.require_parts()
    known = {site.name for site in sites}
    named = [name for name in parts.names() if parts.locate(name)[0] in known]
    return parts.chosen(named) if named else None


def _asked(
    workspace: Workspace,
    request: FindConfig,
    chosen: Sequence[Candidate],
    book: Book,
    texts: TextMoments,
) -> list[Candidate]:
    """Parts asked for by name that are not among the chosen."""
    shortlisted = []
    if request.also and "" not in book.origins and workspace.parts is not None:
        book.add(workspace.parts)
    for name in request.also:
        if name in [c.name for c in chosen]:
            continue
        score, covered = separations(book.holding(name).chosen([name]), texts)
        source, site = origin_in(name).partition("-")[0] or DECOMPOSITION, book.locate(name)[0]
        shortlisted.append(Candidate(name, source, site, float(score[0]), float(covered[0])))
    return shortlisted
