"""Verbs that gather what parts do, and group them: harvest, merge-harvest, cluster, cluster-distance."""

# Tables of pyarrow have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from rankone.clustering.config import ClusterConfig, ClusterDials
from rankone.core.errors import RankOneError
from rankone.core.fields import Domains, Folder, Names, OnlyParts, Positional, Reads, Request
from rankone.core.paths import run_directory, typed
from rankone.harvest.config import HarvestConfig, HarvestDials
from rankone.harvest.counting.shard import Shard
from rankone.opening import Opening
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from rankone.clustering.components import Component, Components

_PARTS = ("decomposition", "model", "text", "device", "dtype")


def _shard(text: str) -> str:
    Shard.parse(text)
    return text


class HarvestRequest(HarvestDials, Request):
    """What is counted, over which text."""

    only: OnlyParts = ()
    out: Path = Field(description="where to write; must not exist")
    domains: Annotated[Names, Domains()] = Field((), description="domains; default all of the text")
    chunk_tokens: int = Field(20_000, gt=0, description="tokens between two saves of the progress")
    shard: Annotated[str, AfterValidator(_shard)] = Field(
        "0/1", description="count only shard I/N, from 0/N on; merge-harvest joins them"
    )
    run: Path | None = Field(None, description="run directory (parts, progress); default OUT.run")

    @property
    def shares(self) -> bool:
        """Whether other shards of the same harvest may be counted meanwhile."""
        return not self.shard.endswith("/1")


class HarvestedDomain(Reply):
    """One domain of a harvest: firings and importance per token, and how many parts are alive on it."""

    domain: str
    tokens: int
    firing_per_token: float
    importance_per_token: float
    alive: int


class HarvestReply(Reply):
    """A finished harvest, or the shard of one."""

    out: Path
    counted: str = "subcomponents"
    parts: int = 0
    bytes: int = 0
    firing: float = 0.0
    domains: tuple[HarvestedDomain, ...] = ()
    shard: str | None = None
    run: Path | None = None

    def tables(self) -> Sequence[Table]:
        """One row per domain."""
        if self.shard is not None:
            return ()
        rows = [
            [d.domain, d.tokens, d.firing_per_token, d.importance_per_token, d.alive] for d in self.domains
        ]
        caption = (
            f"{self.parts:,} {self.counted}, {self.bytes / 1e6:,.1f} MB; firing: importance over {self.firing}; "
            "alive: mean importance over 1e-6"
        )
        columns = ["domain", "tokens", "firing per token", "importance per token", "alive"]
        return (Table.of(f"{self.out}: harvest", columns, rows, caption),)

    def lines(self) -> Sequence[str]:
        """How the shards become one."""
        if self.shard is None:
            return ()
        return (
            f"shard {self.shard} is in {self.run}; when all are: rankone merge-harvest {typed(self.run or '')} "
            f"--out {typed(self.out)}",
        )


def harvest(opening: Opening, request: HarvestRequest) -> HarvestReply:
    """Gather what every subcomponent fires on and leads to, on labelled text; resumes after a kill.

    With --clusters, what every component does: it fires where any of its members does. With --only, what parts of any
    other origin do.
    """
    from rankone.clustering.components import Components
    from rankone.harvest.counting.chunks import clear
    from rankone.harvest.counting.combine import combine
    from rankone.harvest.run import harvest as run_harvest
    from rankone.models.context import usual_context

    shard, domains = Shard.parse(request.shard), request.domains or tuple(opening.corpus.domains())
    context = usual_context(opening.model)
    config = request.as_config(HarvestConfig, "harvest", domains=domains, context=context)
    folder, clusters = request.run or run_directory(request.out), opening.options.clusters
    if clusters is not None and request.only:
        raise RankOneError(
            "--only takes parts one by one, --clusters what they make together. Give one of the two."
        )
    counted = opening.with_only(request.only, domains) if request.only else opening.workspace
    grouping = None
    if clusters is not None:
        loaded = opening.decomposition
        grouping = Components.open(clusters, loaded, opening.model).grouping(loaded)
    run_harvest(
        counted, config, folder, shard, request.chunk_tokens, grouping=grouping, keep_parts=bool(request.only)
    )
    if shard.count > 1:
        return HarvestReply(out=request.out, shard=request.shard, run=folder)
    combine([folder], request.out)
    clear(folder, shard)
    return _harvested(request.out)


class MergeRequest(Request):
    """The shards of a harvest."""

    runs: Annotated[
        tuple[Path, ...], Positional(), Folder("a run directory that holds shards", "shard-*-of-*")
    ] = Field(description="run directories that hold the shards")
    out: Path = Field(description="where to write; must not exist")


def merge_harvest(opening: Opening, request: MergeRequest) -> HarvestReply:  # noqa: ARG001
    """Join the shards of a harvest; the result is that of one process."""
    from rankone.harvest.counting.combine import combine

    combine(list(request.runs), request.out)
    return _harvested(request.out)


def _harvested(out: Path) -> HarvestReply:
    from rankone.harvest.reading.store import HarvestStore
    from rankone.parts.origins import origin_in

    store = HarvestStore.open(out)
    names = store.names()
    counted = "parts" if any(map(origin_in, names)) else "subcomponents"
    domains = store.table(
        f"SELECT domain, sum({store.record.config.firing_column})::BIGINT AS firings, "
        "count(*) FILTER (WHERE mean_importance > 1e-6) AS alive, sum(mean_importance) AS mass "
        "FROM domains GROUP BY domain ORDER BY domain"
    ).to_pylist()
    domains = [
        HarvestedDomain(
            domain=name,
            tokens=size,
            firing_per_token=row["firings"] / size,
            importance_per_token=row["mass"],
            alive=row["alive"],
        )
        for (name, size), row in zip(store.tokens().items(), domains, strict=True)
    ]
    return HarvestReply(
        out=out,
        counted="components" if store.clusters else counted,
        parts=len(names),
        bytes=sum(p.stat().st_size for p in out.rglob("*") if p.is_file()),
        firing=store.record.config.firing,
        domains=tuple(domains),
    )


class ClusterRequest(ClusterDials, Request):
    """How subcomponents are merged into components."""

    out: Path = Field(description="where to write; must not exist")
    domains: Annotated[Names, Domains()] = Field((), description="domains; default all of the text")
    greedy: bool = Field(False, description="always the cheapest merge, no draw")
    top: int = Field(20, gt=0, description="components to show")

    @model_validator(mode="after")
    def _drawn(self) -> Self:
        if self.greedy and self.changed("gamma"):
            raise ValueError("--gamma is of a draw, and --greedy draws nothing: leave one out")
        return self


class ClusterRow(Reply):
    """One component: density and bits saved per position, mean share of its members that fire, the domain it is most in."""

    component: str
    members: tuple[str, ...]
    density: float
    overlap: float
    bits_saved: float
    domain: str
    lift: float


class ClusterReply(Reply):
    """Components that save most; figures per position."""

    out: Path
    components: int
    subcomponents: int
    single: int
    bits_before: float
    bits_after: float
    positions: int
    rows: tuple[ClusterRow, ...]

    def tables(self) -> Sequence[Table]:
        """One row per component of two or more."""
        rows = [
            [
                r.component,
                len(r.members),
                r.density,
                r.overlap,
                r.bits_saved,
                f"{r.domain} ({r.lift:.1f})",
                ", ".join(r.members[:2]) + (", …" if len(r.members) > 2 else ""),
            ]
            for r in self.rows
        ]
        caption = (
            f"{self.components:,} components of {self.subcomponents:,} alive subcomponents: "
            f"{self.components - self.single:,} of two or more, {self.single:,} single; {self.bits_before:,.1f} → "
            f"{self.bits_after:,.1f} bits per position over {self.positions:,} positions. density: share of positions where "
            "it fires; overlap: mean share of its members that fire there; bits saved: per position; lift: the domain's "
            "density over that on all text"
        )
        columns = [
            "component",
            "members",
            "density",
            "overlap",
            "bits saved",
            "domain (lift)",
            "first members",
        ]
        return (Table.of(f"{self.out}: components that save most", columns, rows, caption),)


def cluster(opening: Opening, request: ClusterRequest) -> ClusterReply:
    """Merge subcomponents that fire together into components, by description length."""
    from rankone.clustering.run import cluster as run_cluster
    from rankone.models.context import usual_context

    config = request.as_config(
        ClusterConfig,
        "cluster",
        domains=request.domains or tuple(opening.corpus.domains()),
        context=usual_context(opening.model),
        gamma=None if request.greedy else request.gamma,
    )
    made = run_cluster(opening.workspace, config, request.out)
    return _clustered(made, request.top)


def _clustered(made: Components, top: int) -> ClusterReply:
    record, positions = made.record, made.record.positions
    rows: list[ClusterRow] = []
    for c in made.rows[:top]:
        if len(c.members) > 1:
            domain, lift = _most_in(c, record.domains)
            rows.append(
                ClusterRow(
                    component=c.component,
                    members=tuple(c.members),
                    density=c.firings / positions,
                    overlap=c.overlap,
                    bits_saved=c.bits_saved / positions,
                    domain=domain,
                    lift=lift,
                )
            )
    sizes = [len(c.members) for c in made.rows]
    return ClusterReply(
        out=made.artifact.path,
        components=len(sizes),
        subcomponents=sum(sizes),
        single=sum(size == 1 for size in sizes),
        bits_before=record.bits_before / positions,
        bits_after=record.bits_after / positions,
        positions=positions,
        rows=tuple(rows),
    )


def _most_in(component: Component, sizes: dict[str, int]) -> tuple[str, float]:
    total = sum(sizes.values())
    lifts = {
        domain: count * total / (max(size, 1) * component.firings)
        for (domain, size), count in zip(sizes.items(), component.domain_firings, strict=True)
    }
    best = max(lifts, key=lambda domain: lifts[domain])
    return best, lifts[best]


class DistanceRequest(Request):
    """Two clusterings of one decomposition."""

    first: Annotated[Path, Positional(), Reads("components")] = Field(
        description="components from `rankone cluster`"
    )
    second: Annotated[Path, Positional(), Reads("components")] = Field(
        description="others of the same decomposition"
    )
    top: int = Field(20, gt=0, description="components to show")


class Match(Reply):
    """The best match of one component of the first clustering in the second."""

    component: str
    members: int
    match: str
    jaccard: float


class DistanceReply(Reply):
    """How far apart two clusterings are."""

    first: Path
    second: Path
    matches: tuple[Match, ...]
    figures: dict[str, int | float | str | None]

    def tables(self) -> Sequence[Table]:
        """The best matches, then the distances."""
        rows = [[m.component, m.members, m.match, m.jaccard] for m in self.matches]
        matches = Table.of(
            f"Components of {self.first} in {self.second}",
            ["component", "members", "best match", "Jaccard"],
            rows,
        )
        figures = [[name, value] for name, value in self.figures.items()]
        return matches, Table.of(
            "Distance", ["figure", "value"], figures, "members: of those that are in both"
        )


def cluster_distance(opening: Opening, request: DistanceRequest) -> DistanceReply:  # noqa: ARG001
    """How far apart two clusterings of one decomposition are, and which components are found again."""
    from rankone.clustering.components import Components
    from rankone.clustering.distance import RECOVERED, distance

    a, b = Components.open(request.first), Components.open(request.second)
    if not a.origin.agrees(b.origin):
        raise RankOneError(
            f"'{request.first}' and '{request.second}' cluster different decompositions or models: their subcomponents "
            "have nothing to do with each other. Give two clusterings of one."
        )
    compared = distance([c.members for c in a.rows], [c.members for c in b.rows])
    matches = [
        Match(
            component=a.rows[m.first].component,
            members=m.members,
            match=b.rows[m.second].component,
            jaccard=m.jaccard,
        )
        for m in sorted(compared.matches, key=lambda m: -m.members)[: request.top]
    ]
    figures: dict[str, int | float | str | None] = {
        "subcomponents in both": compared.common,
        "only in the first, only in the second": f"{compared.only[0]}, {compared.only[1]}",
        "variation of information, bits": compared.variation,
        "the same over log2 n": compared.normalised,
        "adjusted Rand index": compared.rand,
        f"components of two or more found again (Jaccard > {RECOVERED})": compared.recovered,
        "mean Jaccard of the best matches": compared.mean_jaccard,
    }
    return DistanceReply(first=request.first, second=request.second, matches=tuple(matches), figures=figures)


_TABLES: Mapping[Literal["device", "dtype"], str] = dict.fromkeys(
    ("device", "dtype"), "tables are read, no model runs"
)

VERBS = (
    Verb(
        "harvest",
        HarvestRequest,
        HarvestReply,
        harvest,
        (*_PARTS, "parts", "clusters"),
        first="decomposition",
        writes=("out",),
    ),
    Verb("merge-harvest", MergeRequest, HarvestReply, merge_harvest, writes=("out",), without=_TABLES),
    Verb("cluster", ClusterRequest, ClusterReply, cluster, _PARTS, first="decomposition", writes=("out",)),
    Verb("cluster-distance", DistanceRequest, DistanceReply, cluster_distance, without=_TABLES),
)
