"""Verbs that read what parts do: rank, search, show."""

# get_text_config of transformers has no types.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import Field, model_validator

from rankone.core.errors import RankOneError
from rankone.core.fields import (
    Counted,
    Domains,
    LabelWords,
    Names,
    OnlyParts,
    OnlyWith,
    Positional,
    Request,
    apart,
)
from rankone.edits.criteria import FROM_MODEL, criterion_for, require_criterion, unread
from rankone.harvest.reading.listed import counts_components
from rankone.opening import Opening
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.verb import Opens, Verb

if TYPE_CHECKING:
    from rankone.clustering.components import Component
    from rankone.harvest.reading.store import HarvestStore
    from rankone.show.portrait import Portrait
    from rankone.workspace import Workspace

Cell = str | int | float | None


class RankRequest(Request):
    """Which parts matter for what."""

    of: Annotated[Names, Domains()] = Field((), description="domains, comma-separated")
    against: Annotated[Names, Domains()] = Field((), description="domains to compare with, comma-separated")
    token: str | None = Field(None, description="a word that is one token: ranks the parts that lead to it")
    label: Annotated[str | None, LabelWords()] = Field(None, description="words of a label")
    by: str | None = Field(
        None, description="specificity, contrast, gradient, token, unembedding or label; default what fits"
    )
    penalty: float | None = Field(None, description="weight of --against in a gradient; default 1")
    only: OnlyParts = ()
    domains: Annotated[Names, Domains()] = Field(
        (), description="domains to compare; default all of the text"
    )
    tokens: int = Field(3000, gt=0, description="training tokens per domain, without a harvest")
    top: int = Field(20, gt=0, description="rows to show")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        """Something to rank by, and a contrast of two groups that share no domain."""
        if not self.of and self.token is None and self.label is None:
            raise ValueError("nothing to rank by: give --of DOMAIN (as de), --token WORD or --label WORDS")
        apart(self.of, self.against)
        given = [
            name
            for name in ("of", "against", "token", "label", "penalty")
            if getattr(self, name) not in (None, ())
        ]
        by = self.by or criterion_for(given, harvest=False)
        require_criterion(by, given)
        if unused := self.changed(*unread(by)):
            raise ValueError(f"{unused[0]} changes nothing in a ranking by {by}: leave it out")
        if self.only and by in ("label", "token"):
            raise ValueError(
                f"a ranking by {by} is of what was harvested: leave out --only, or count these parts "
                "with `rankone harvest --only PARTS`"
            )
        return self


class RankRow(Reply):
    """One ranked part (or component): its score, its label if there are labels, what else the criterion says of it."""

    name: str
    score: float
    label: str | None = None
    members: int | None = None
    values: dict[str, Cell] = Field(default_factory=dict)


class RankReply(Reply):
    """A ranking, best first."""

    title: str
    score: str
    note: str
    rows: tuple[RankRow, ...]

    def tables(self) -> Sequence[Table]:
        """One row per part: label, name, score, the criterion's own columns."""
        labelled = any(row.label is not None for row in self.rows)
        grouped = any(row.members is not None for row in self.rows)
        extra = list(self.rows[0].values) if self.rows else []
        name = Column("name", key=True)
        columns = ["label"] * labelled + [name, self.score, *extra] + ["members"] * grouped
        rows = [
            [*([r.label] * labelled), r.name, r.score, *r.values.values(), *([r.members] * grouped)]
            for r in self.rows
        ]
        return (Table.of(self.title, columns, rows, self.note),)


def rank(opening: Opening, request: RankRequest) -> RankReply:
    """Rank parts: by domains, gradient, output token or label; at once where a harvest has the counts.

    With --clusters, or a harvest of components, it ranks those; with --only, the parts of any origin that it names.
    """
    from rankone.edits.ranking import Asked, Sources
    from rankone.edits.ranking import rank as make

    if request.only and (opening.options.harvest is not None or opening.options.clusters is not None):
        raise RankOneError(
            "--only names the parts to rank, and a harvest or clusters hold others. Give one of the two."
        )
    counted = opening.options.harvest is not None and request.by != "gradient"
    if counted and request.changed("tokens"):
        raise RankOneError("--tokens changes nothing beside a harvest, which has the counts: leave it out.")
    asked = Asked(request.of, request.against, request.token, request.label, request.penalty)
    store, labels, clusters = opening.harvest_store, opening.labels, opening.counted_clusters
    named = [*request.of, *request.against]
    domains = request.domains or (opening.corpus.domains() if store is None else store.domains())
    compared = list(dict.fromkeys([*named, *domains]))
    sources = Sources(
        lambda: opening.with_only(request.only, compared) if request.only else _checked(opening),
        compared,
        request.tokens,
        store,
        labels,
        clusters,
        sized=bool(request.only),
    )
    ranking = make(asked, sources, request.by)
    clustering = store if store is not None and store.clusters else clusters
    rows = [
        RankRow(
            name=ranking.names[i],
            score=float(ranking.values[i]),
            label=None if labels is None else labels.words(ranking.names[i]),
            members=None if clustering is None else len(clustering.members(ranking.names[i])),
            values={title: column[i] for title, column in ranking.columns.items()},  # pyright: ignore[reportArgumentType]
        )
        for i in ranking.order(request.top)
    ]
    return RankReply(title=ranking.title, score=ranking.score, note=ranking.note, rows=tuple(rows))


def _rank_unused(opening: Opening, request: RankRequest) -> dict[Opens, str]:
    """A harvest says whose the labels are; its counts are no part of what the weights or gradients say."""
    harvest = opening.options.harvest
    if harvest is None or opening.options.labels is not None or request.by not in FROM_MODEL:
        return {}
    said = f"a ranking by {request.by} is made from the model, and no components are counted there. Leave it out."
    return {} if counts_components(harvest) else {"harvest": said}


def _checked(opening: Opening) -> Workspace:
    """The workspace; counts and components of another model or decomposition are refused, and so is having no parts."""
    if opening.decomposition_name is None:
        origin = next((name for name in opening.book.origins if name), "neuron")
        raise RankOneError(
            f"rank needs parts: open a decomposition (--decomposition DIR), or name them (--only '{origin}/*')."
        )
    if opening.harvest_store is not None:
        opening.harvest_store.require_origin(opening.decomposition, opening.model)
    _ = opening.checked_clusters
    return opening.workspace


class SearchRequest(Request):
    """Words to look for."""

    query: Annotated[str, Positional()] = Field(description="words of a label, tokens, names of domains")
    top: int = Field(20, gt=0, description="rows to show")


class Hit(Reply):
    """One part that was found: its label and how sure that is, firing density in all and per domain, where it was found."""

    name: str
    label: str
    confidence: float
    density: float
    densities: dict[str, float]
    places: tuple[str, ...]


class SearchReply(Reply):
    """What was found, best first."""

    query: str
    hits: tuple[Hit, ...]

    def tables(self) -> Sequence[Table]:
        """One row per hit, firing density by domain as bars."""
        from rankone.render.bars import level

        domains = list(self.hits[0].densities) if self.hits else []
        rows: list[list[object]] = []
        for hit in self.hits:
            largest = max(hit.densities.values())
            bars = [level(value, largest) for value in hit.densities.values()]
            shown = [hit.label, hit.name, hit.confidence, f"{hit.density:.2%}", *bars]
            rows.append([*shown, ", ".join(hit.places)])
        # Where it fires matters more than how often, and than where the words stood.
        rest = (Column("density", priority=0), *domains, Column("found in", priority=0))
        columns = ["label", Column("name", key=True), "conf.", *rest]
        caption = (
            "conf.: confidence of the label; bars: firing density by domain, against the largest of the row"
        )
        return (Table.of(f"“{self.query}”", columns, rows, caption),)


def search(opening: Opening, request: SearchRequest) -> SearchReply:
    """Find parts by label, token or domain."""
    from rankone.labels.search import search as find

    store, labels = opening.require_harvest("a search"), opening.require_labels("a search")
    hits = [
        Hit(
            name=hit.part,
            label=hit.label.label,
            confidence=hit.label.confidence,
            density=hit.density,
            densities=hit.densities,
            places=tuple(dict.fromkeys(hit.places.values())),
        )
        for hit in find(store, labels, request.query, request.top)
    ]
    return SearchReply(query=request.query, hits=tuple(hits))


class ShowRequest(Request):
    """One part (or component) to look at."""

    part: Annotated[str, Positional(), Counted()] = Field(
        description="SITE:NUMBER, or cNUMBER in a harvest of components"
    )
    response: bool = Field(False, description="also measure CE by α (takes forwards)")
    tokens: Annotated[int, OnlyWith("response")] = Field(
        1000, gt=0, description="with --response: validation tokens per domain"
    )
    sources: int = Field(
        0, ge=0, description="validation tokens per domain on which its sources are summed; 0: none"
    )
    examples: int = Field(12, ge=0, description="examples to show")
    html: Path | None = Field(None, description="write a page to this file; must not exist")


class ShowReply(Reply):
    """What is known of one part, in figures; the whole of it as a page or on the terminal."""

    name: str
    labels: tuple[str, ...]
    firings: int
    tokens: int
    mean_importance: float
    densities: dict[str, float]
    fires_on: tuple[str, ...]
    leads_to: tuple[str, ...]
    html: Path | None = None

    def lines(self) -> Sequence[str]:
        """Where the page is."""
        return () if self.html is None else (f"page: {self.html}",)


def show(opening: Opening, request: ShowRequest) -> ShowReply:
    """Show all that is known of one part or component; --decomposition adds its neighbours by direction."""
    from rankone.show.portrait import portrait
    from rankone.show.web import write_portrait

    store = opening.require_harvest("a page")
    cluster = _cluster_of(request.part, opening)
    named = opening.options.decomposition is not None
    if request.response and not named and opening.held_parts is None:
        raise RankOneError("--response edits the model: give the --decomposition of this harvest.")
    if request.sources and not named:
        raise RankOneError("--sources runs the model: give the --decomposition of this harvest.")
    if named or request.response:
        shown = _portrait_with_directions(opening, request, store, cluster)
    else:
        shown = portrait(store, request.part, opening.labels, cluster=cluster)
    if request.html is not None:
        write_portrait(shown, request.html, request.examples)
    return _show_reply(shown, request)


def _portrait_with_directions(
    opening: Opening, request: ShowRequest, store: HarvestStore, cluster: Component | None
) -> Portrait:
    from dataclasses import replace

    from rankone.experiments.config import ALPHAS
    from rankone.show.portrait import portrait, respond
    from rankone.verbs.circuits.around import around

    store.require_origin(opening.decomposition, opening.model)
    width = int(opening.model.config.get_text_config().hidden_size)
    shown = portrait(store, request.part, opening.labels, opening.decomposition, width, cluster=cluster)
    members, domains = store.members(request.part), store.domains()
    if request.sources:
        shown = replace(shown, around=around(opening, members, domains, request.sources))
    if not request.response:
        return shown
    measured = respond(opening.workspace, members, ALPHAS, domains, request.tokens)
    return replace(shown, response=measured)


def _cluster_of(name: str, opening: Opening) -> Component | None:
    """The component that is named, or that a subcomponent belongs to, in the clustering that was named."""
    from rankone.clustering.components import Components

    if opening.options.clusters is None:
        return None
    if ":" not in name:
        components = opening.counted_clusters
        assert components is not None
        return components.component(name)
    components = Components.open(opening.options.clusters)
    owner = components.owner(name)
    return None if owner is None else components.component(owner)


def _show_reply(shown: Portrait, request: ShowRequest) -> ShowReply:
    from rankone.harvest.reading.page import most_informative
    from rankone.show.terminal import portrait

    page = shown.page
    return ShowReply(
        name=request.part,
        labels=tuple(label.label for label in shown.labels),
        firings=page.firings,
        tokens=page.tokens,
        mean_importance=page.mean_importance,
        densities={row.domain: row.density for row in page.domains},
        fires_on=tuple(row.text for row in most_informative(page.input_tokens, 12)),
        leads_to=tuple(row.text for row in most_informative(page.output_tokens, 12)),
        html=request.html,
    ).showing(above=portrait(shown, request.examples) if request.html is None else ())


VERBS = (
    Verb(
        "rank",
        RankRequest,
        RankReply,
        rank,
        ("model", "decomposition", "parts", "harvest", "labels", "clusters", "text", "device", "dtype"),
        first="model",
        unused=_rank_unused,
        cost="seconds",
    ),
    Verb(
        "search",
        SearchRequest,
        SearchReply,
        search,
        ("harvest", "labels"),
        needs=("harvest", "labels"),
        without=dict.fromkeys(("device", "dtype"), "tables are read, no model runs"),
        cost="seconds",
    ),
    Verb(
        "show",
        ShowRequest,
        ShowReply,
        show,
        ("harvest", "labels", "clusters", "model", "decomposition", "text", "device", "dtype"),
        needs=("harvest",),
        writes=("html",),
    ),
)
