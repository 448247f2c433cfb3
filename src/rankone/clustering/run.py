"""From text to components: what fires, what belongs together, the artefact."""

from __future__ import annotations

from pathlib import Path

from rankone.clustering.components import Component, Components, describe, save_components
from rankone.clustering.config import ClusterConfig
from rankone.clustering.merging import Merges, merge_all
from rankone.clustering.sample import Sample, draw_sample
from rankone.core.artifact import refuse_existing
from rankone.harvest.origin import origin
from rankone.runtime.places import holds
from rankone.runtime.progress import meter
from rankone.workspace import Workspace


@holds("out")
def cluster(workspace: Workspace, config: ClusterConfig, out: Path) -> Components:
    """Cluster the subcomponents that are alive into components and write them to `out`.

    Raises RankOneError when `out` exists, when there is too little text, and where (almost) nothing fires.
    """
    refuse_existing(out)
    sample, merges = _merged(workspace, config)
    return save_components(out, sample, merges, origin(workspace), config)


def clustered(workspace: Workspace, config: ClusterConfig) -> list[Component]:
    """The components alone, for the length of a task: nothing is written."""
    sample, merges = _merged(workspace, config)
    return describe(sample, merges.groups(), config.rank_penalty)


def _merged(workspace: Workspace, config: ClusterConfig) -> tuple[Sample, Merges]:
    sample = draw_sample(workspace, config)
    with meter("merge", len(sample.names) - 1) as bar:
        return sample, merge_all(sample, config.rank_penalty, config.gamma, config.seed, bar)
