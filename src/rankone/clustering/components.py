"""Components: clusters of subcomponents on disk."""

# pyarrow has no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rankone.clustering.config import ClusterConfig
from rankone.clustering.description import description_length
from rankone.clustering.listed import KIND, TABLE, no_component
from rankone.clustering.merging import Merges
from rankone.clustering.sample import Sample
from rankone.core.artifact import Artifact, new_artifact, write_json
from rankone.core.errors import RankOneError
from rankone.core.paths import typed
from rankone.decomposition.model import Decomposition
from rankone.harvest.counting.grouping import Grouping
from rankone.harvest.origin import Derived, Origin


@dataclass(frozen=True)
class Component:
    """A cluster of subcomponents.

    firings: sampled positions at which at least one member fires. overlap: the mean share of its members that fire
    there, Σ s_m / (s r), from 1/r (never two at once) to 1 (always all). bits_saved: by naming the component instead of
    each member, Σ s_m (log2 k + ρ) − s (log2 k + ρ r) with the final k; below zero where the merge only served to
    have fewer groups. domain_firings: firings per domain.
    """

    component: str
    members: list[str]
    firings: int
    overlap: float
    bits_saved: float
    domain_firings: list[int]


class ComponentsRecord(Origin):
    """The config of a clustering.

    domains: sampled positions of each; positions: of all. bits_before, bits_after: the description's length with every
    subcomponent by itself, and of what was kept. merges: how many made the partition.
    """

    config: ClusterConfig
    domains: dict[str, int]
    positions: int
    bits_before: float
    bits_after: float
    merges: int


def describe(sample: Sample, group: np.ndarray, rank_penalty: float) -> list[Component]:
    """The components of a partition (a number per subcomponent), the one that saves most bits first.

    Those that save equally (the single ones) are in the order of their firings, then of their first members.
    """
    _, group = np.unique(group, return_inverse=True)
    members: list[list[str]] = [
        [sample.names[i] for i in units] for units in _split(np.arange(len(group)), group)
    ]
    owner = group[sample.unit]
    positions = [np.unique(fired) for fired in _split(sample.position, owner)]
    totals, bits = np.bincount(owner).tolist(), math.log2(len(members))
    components: list[Component] = []
    for names, at, count in zip(members, positions, totals, strict=True):
        size, rank = len(at), len(names)
        components.append(
            Component(
                component="",
                members=names,
                firings=size,
                overlap=count / (size * rank),
                bits_saved=(count - size) * bits + rank_penalty * (count - size * rank),
                domain_firings=np.bincount(sample.domain[at], minlength=len(sample.domains)).tolist(),
            )
        )
    components.sort(key=lambda c: (-c.bits_saved, -c.firings))
    return [replace(c, component=f"c{number}") for number, c in enumerate(components)]


def _split(values: np.ndarray, group: np.ndarray) -> list[np.ndarray]:
    """Values by group, in order."""
    ordered = values[np.argsort(group, kind="stable")]
    return np.split(ordered, np.cumsum(np.bincount(group))[:-1])


def save_components(
    out: Path, sample: Sample, merges: Merges, origin: Origin, config: ClusterConfig
) -> Components:
    """Write the partition of the shortest description, with the way there."""
    components = describe(sample, merges.groups(), config.rank_penalty)
    sizes = np.array([c.firings for c in components])
    members = np.array([len(c.members) for c in components])
    record = ComponentsRecord(
        **dict(origin),
        config=config,
        domains=dict(zip(sample.domains, np.bincount(sample.domain).tolist(), strict=True)),
        positions=sample.positions,
        bits_before=float(merges.bits[0]),
        bits_after=description_length(sizes, members, config.rank_penalty),
        merges=merges.best,
    )
    with new_artifact(out, KIND) as staging:
        write_json(staging / "config.json", record.model_dump(mode="json"))
        pq.write_table(pa.Table.from_pylist([asdict(c) for c in components]), staging / f"{TABLE}.parquet")
        pq.write_table(pa.table(_way(sample, merges)), staging / "merges.parquet")
    return Components.open(out)


def _way(sample: Sample, merges: Merges) -> dict[str, list[str] | np.ndarray]:
    names: list[list[str]] = [[sample.names[i] for i in side] for side in (merges.first, merges.second)]
    groups = merges.units - 1 - np.arange(len(merges.first))
    return {"first": names[0], "second": names[1], "groups": groups, "bits": merges.bits[1:]}


class Components(Derived):
    """A partition of a decomposition's alive subcomponents, opened from disk."""

    kind = KIND

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        self.record = ComponentsRecord.checked(artifact.json(), str(artifact.path / "config.json"))
        self.rows = artifact.table(TABLE).records(Component)
        self._by_name = {c.component: c for c in self.rows}
        self._owner = {member: c.component for c in self.rows for member in c.members}

    @property
    def origin(self) -> Origin:
        """The decomposition, model and text it was made from."""
        return self.record

    def names(self) -> list[str]:
        """Names of all components, the one that saves most bits first."""
        return list(self._by_name)

    def component(self, name: str) -> Component:
        """One component; an unknown name is an error."""
        if name not in self._by_name:
            raise RankOneError(no_component(self.artifact.path, name, self.names()))
        return self._by_name[name]

    def members(self, name: str) -> list[str]:
        """Names of a component's subcomponents, in the decomposition's order."""
        return list(self.component(name).members)

    def grouping(self, decomposition: Decomposition) -> Grouping:
        """The components, to be counted in place of the decomposition's subcomponents."""
        members = {c.component: c.members for c in self.rows}
        return Grouping.of(members, decomposition, self.artifact.fingerprint)

    def require_counted(self, clusters: str | None, path: Path) -> None:
        """Raise RankOneError unless the harvest at `path`, of the clustering `clusters`, counts these components."""
        if clusters is None:
            raise RankOneError(
                f"'{path}' counts subcomponents; what its components do is not in it. Make a harvest of them: "
                f"`rankone harvest --clusters {typed(self.artifact.path)} --out DIR`."
            )
        if clusters != self.artifact.fingerprint:
            raise RankOneError(
                f"'{path}' counts the components of another clustering than '{self.artifact.path}'. Give the one it was "
                "made with, or harvest these components."
            )

    def owner(self, subcomponent: str) -> str | None:
        """The component a subcomponent belongs to; None for one that was dead in the sample."""
        return self._owner.get(subcomponent)
