"""Everything that a page about one part shows, from a harvest, its labels and the decomposition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rankone.clustering.components import Component
from rankone.core.config import Config
from rankone.decomposition.directions import DirectionRow, direction_neighbours
from rankone.decomposition.model import Decomposition
from rankone.experiments.response import scale_response
from rankone.harvest.reading.page import DomainRow, Example, PartPage
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.label import Label
from rankone.labels.store import Labels
from rankone.render.tables import Table
from rankone.runtime.progress import meter
from rankone.workspace import Workspace

# Smaller cosines are those of unrelated directions.
LEAST_COSINE = 0.1
# How the lists of neighbours by direction are called on a page.
DIRECTIONS = {
    "matrix": "alike as a matrix (u vᵀ)",
    "read": "reads alike (v)",
    "write": "writes alike (u)",
    "readers": "read what it writes",
    "writers": "write what it reads",
}


class ResponseRow(Config):
    """One domain at one α: cross-entropies before and after, and their difference, in nats per token."""

    alpha: float
    domain: str
    ce_base: float
    ce: float
    rise: float


@dataclass(frozen=True)
class Response:
    """Cross-entropies on validation text as α moves; chance (ln V), tokens per domain."""

    rows: list[ResponseRow]
    chance: float
    tokens: int


@dataclass(frozen=True)
class Portrait:
    """One part: what the harvest stored, labels, neighbours, and its scale response if asked for.

    source: model, text and split it was harvested from. named: the labels of the neighbours, as far as there are any.
    firing: importance above which it counts as firing. cluster: the component itself, or that of the subcomponent, if a
    clustering was given. around: tables of what feeds it and of whom it looks with, if asked for.
    """

    page: PartPage
    source: str
    firing: float
    labels: list[Label] = field(default_factory=list)
    directions: dict[str, list[DirectionRow]] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    response: Response | None = None
    cluster: Component | None = None
    around: tuple[Table, ...] = ()

    @property
    def density(self) -> float:
        """Share of all tokens it fires on."""
        return self.page.firings / max(self.page.tokens, 1)

    @property
    def domains(self) -> list[DomainRow]:
        """Domains by density, largest first."""
        return sorted(self.page.domains, key=lambda row: -row.density)


def portrait(
    store: HarvestStore,
    name: str,
    labels: Labels | None = None,
    decomposition: Decomposition | None = None,
    width: int = 0,
    neighbours: int = 8,
    cluster: Component | None = None,
) -> Portrait:
    """Gather what is stored about a name of the harvest; with its decomposition also the neighbours by direction.

    width: dimensions of the residual stream, needed with `decomposition`.
    """
    page = store.page(name)
    directions = {} if decomposition is None else _directions(decomposition, store, name, width, neighbours)
    labelled = {} if labels is None else labels.by_part
    listed = {row.part for row in page.cofiring} | {r.part for rows in directions.values() for r in rows}
    named = {} if labels is None else {part: labels.words(part) for part in listed if part in labelled}
    about, config = store.record, store.record.config
    source = f"{about.model.name}, {about.text.name} ({config.split})"
    return Portrait(page, source, config.firing, labelled.get(name, []), directions, named, None, cluster)


def _directions(
    decomposition: Decomposition, store: HarvestStore, name: str, width: int, neighbours: int
) -> dict[str, list[DirectionRow]]:
    """Near neighbours by list; of components the closest pair of members counts."""
    members = store.members(name)
    rows_of: dict[str, list[DirectionRow]] = {}
    for member in members:
        # The members themselves may be among the nearest.
        near = direction_neighbours(decomposition, member, width, neighbours + len(members) - 1)
        for key, rows in near.items():
            rows_of.setdefault(key, []).extend(DirectionRow(store.owner(r.part), r.cosine) for r in rows)
    by_list = {key: nearest(rows, name)[:neighbours] for key, rows in rows_of.items()}
    return {key: rows for key, rows in by_list.items() if rows}


def nearest(rows: Sequence[DirectionRow], name: str) -> list[DirectionRow]:
    """Each other name once, the largest |cosine| first."""
    best: dict[str, DirectionRow] = {}
    for row in sorted(rows, key=lambda r: -abs(r.cosine)):
        if row.part != name and abs(row.cosine) >= LEAST_COSINE:
            best.setdefault(row.part, row)
    return list(best.values())


def respond(
    workspace: Workspace,
    members: Sequence[str],
    alphas: Sequence[float],
    domains: Sequence[str],
    tokens: int,
) -> Response:
    """Measure the scale response of some subcomponents together on validation text."""
    text = workspace.text(domains, "validation", tokens)
    with meter("scale response", len(alphas)) as bar:
        rows = scale_response(workspace, members, alphas, text, bar=bar)
    return Response([ResponseRow.checked(row, "scale response") for row in rows], workspace.chance, tokens)


def strongest(examples: Sequence[Example], count: int) -> list[Example]:
    """The first `count` of the examples (a uniform sample of the firings), the most important centre first."""
    return sorted(examples[:count], key=lambda e: -e.importances[e.centre])


def cluster_words(shown: Portrait, cluster: Component) -> str:
    """What a clustering says of the component, or which one a subcomponent belongs to."""
    count = len(cluster.members)
    if shown.page.part != cluster.component:
        return f"member of {cluster.component}, {count} subcomponents"
    return (
        f"{count} subcomponents; of them {cluster.overlap:.0%} fire where the component does, {cluster.bits_saved:,.0f} "
        "bits saved"
    )
