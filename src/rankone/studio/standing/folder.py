"""A workspace as a folder for any static host: its parts, kept edits and results as pages that need no server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from rankone.core.artifact import new_folder
from rankone.core.errors import RankOneError
from rankone.core.escaping import clipped
from rankone.core.files import atomic_file, write_text
from rankone.labels.on_demand import StatisticalLabels
from rankone.opening import BUILTIN_DECOMPOSITION, Opening
from rankone.render.reply import Reply
from rankone.show.portrait import Response, portrait
from rankone.show.web import portrait_page
from rankone.studio.kept.corrections import Corrections
from rankone.studio.kept.graphs import ListedGraph, listed
from rankone.studio.kept.journal import Entry, Journal
from rankone.studio.listed.columns import SHIPPED, PartColumns, made, read_columns
from rankone.studio.shelf import Shelf, Shelved
from rankone.studio.standing import pages
from rankone.studio.standing.figures import responses, rises
from rankone.studio.standing.rows import Listed, file_of, most_selective, name_of
from rankone.studio.working.dials import Dials
from rankone.studio.working.graphing import drawn
from rankone.studio.working.looking import part_page

BACK = '<p class="note"><a href="../index.html">the workspace</a></p>'


class Written(Reply):
    """What was written: how many parts are listed, and how many pages of each kind."""

    out: Path
    listed: int
    parts: int
    edits: int
    results: int
    graphs: int = 0

    def lines(self) -> Sequence[str]:
        """What, and where it is opened."""
        return (
            f"{self.listed:,} parts listed, {self.parts:,} of them with a page; "
            f"{self.edits} edits, {self.results} results, {self.graphs} graphs",
            f"open {self.out / 'index.html'}, or put the folder on any static host",
        )


def write_folder(opening: Opening, workspace: Path, out: Path, per_domain: int = 10) -> Written:
    """Write `out`, which must not exist, whole or not at all.

    Parts with a page of their own: those of kept edits (with their responses), those whose label was corrected by hand, and
    of every domain the `per_domain` most selective ones.
    """
    with new_folder(out) as staging:
        return _Folder(opening, workspace, staging).write(out, per_domain)


class _Folder:
    """The pages while they are made."""

    def __init__(self, opening: Opening, workspace: Path, out: Path) -> None:
        kept = workspace / "studio"
        self._opening, self._out, self._shelf = opening, out, Shelf(workspace)
        self._entries: Sequence[Entry] = Journal(kept).state().entries
        self._current = Journal(kept).state().current
        self._corrections = Corrections.of(opening.options.harvest, kept).state().parts
        self._columns = columns_of(opening)
        self._listed: Listed | None = None

    def write(self, out: Path, per_domain: int) -> Written:
        """All pages; out: where they will lie."""
        turned = list(
            dict.fromkeys(name for entry in self._entries for name, a in entry.scales.items() if a != 1)
        )
        named = dict.fromkeys([*turned, *self._corrections, *self._selective(per_domain)])
        if self._columns is not None:
            labels = {part: one.label for part, one in self._corrections.items()}
            self._listed = Listed(self._columns, labels, frozenset(named))
        dials = Dials(self._opening)
        moved, curves = rises(dials, self._entries), responses(self._opening, dials, turned)
        dials.close()
        for name in named:
            self._text(file_of(name), self._part(name, curves.get(name)))
        files = {name: file_of(name) for name in named}
        self._text("edits.html", pages.edits_page(self._entries, self._current, moved, files))
        lists = self._lists()
        shelved = self._shelf.check()
        results, graphs = self._results(shelved), self._graphs()
        index = pages.index_page(self._facts(), *lists, len(self._entries), shelved, graphs)
        self._text("index.html", index)
        return Written(
            out=out,
            listed=0 if self._columns is None else len(self._columns.number),
            parts=len(named),
            edits=len(self._entries),
            results=results,
            graphs=sum(not one.broken for one in graphs),
        )

    def _selective(self, count: int) -> list[str]:
        held = self._columns
        if held is None:
            return []
        return [name_of(held, i) for d in range(len(held.domains)) for i in most_selective(held, d, count)]

    def _part(self, name: str, response: Response | None) -> str:
        opening, store = self._opening, self._opening.harvest_store
        if store is not None and "/" not in name:
            width = int(opening.model.config.get_text_config().hidden_size)
            shown = portrait(store, name, opening.labels, opening.decomposition, width)
            page = portrait_page(replace(shown, response=response))
        else:
            held, rows_of = self._columns, self._listed
            place = None if held is None else self._places.get(name)
            row = None if rows_of is None or place is None else rows_of.row(place)
            corrected = self._corrections.get(name)
            instead = None if corrected is None else corrected.instead
            page = pages.part_page(row, name, held, part_page(opening, name), response, instead)
        return page.replace("<main>", f"<main>{BACK}", 1)

    @cached_property
    def _places(self) -> dict[str, int]:
        held = self._columns
        return {} if held is None else {name_of(held, i): i for i in range(len(held.number))}

    def _lists(self) -> tuple[list[tuple[str, str, int]], list[tuple[str, str]]]:
        rows_of = self._listed
        if rows_of is None:
            return [], []
        sites, domains = [], []
        for place, site in enumerate(rows_of.columns.sites):
            rows, file = rows_of.of_site(place), f"sites/{place}.html"
            for number, page in enumerate(pages.list_pages(f"Parts of {site}", rows, rows_of, str(place))):
                self._text(f"sites/{pages.numbered(str(place), number)}", page)
            sites.append((site, file, len(rows)))
        for place, domain in enumerate(rows_of.columns.domains):
            file = f"domains/{place}.html"
            self._text(file, pages.domain_page(rows_of, place))
            domains.append((rows_of.columns.names.get(domain, domain), file))
        return sites, domains

    def _results(self, shelved: Sequence[Shelved]) -> int:
        """Pages of results, each under the policy of ours; how many."""
        paged = [one for one in shelved if one.page and not one.broken]
        for one in paged:
            with atomic_file(self._out / "results" / f"{one.id}.html") as stream:
                stream.write(pages.contained(self._shelf.page(one.id)))
        return len(paged)

    def _graphs(self) -> list[ListedGraph]:
        """The script-free page of every graph that can be read; one that cannot be drawn is listed with the reason."""
        graphs = []
        for one in listed(self._shelf).graphs:
            try:
                if not one.broken:
                    self._text(f"graphs/{one.id}.html", drawn(self._opening, self._shelf.place(one.id)))
                graphs.append(one)
            except RankOneError as error:
                graphs.append(one.model_copy(update={"state": "broken", "broken": clipped(str(error), 300)}))
        return graphs

    def _facts(self) -> dict[str, str]:
        options = self._opening.options
        model = self._opening.model
        return {
            "model": f"{options.model}, {sum(p.numel() for p in model.parameters()):,} parameters",
            "decomposition": str(self._opening.decomposition_name or "none"),
            "text": options.text,
            "RankOne": version("rankone"),
        }

    def _text(self, file: str, page: str) -> None:
        write_text(self._out / file, page)


def columns_of(opening: Opening) -> PartColumns | None:
    """The list of parts: of the harvest that is open, the shipped one of the built-in decomposition, or None."""
    store = opening.harvest_store
    if store is not None:
        labels = opening.labels or StatisticalLabels.of_all(store)
        return made(store, labels, opening.decomposition_artifact.fingerprint)
    builtin = opening.decomposition_name == BUILTIN_DECOMPOSITION and opening.options.model == "mini"
    return read_columns(SHIPPED) if builtin else None
