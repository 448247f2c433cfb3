"""From text to components: what fires, what belongs together, the artefact."""

from __future__ import annotations

from pathlib import Path

from rankone.clustering.components import Components, save_components
from rankone.clustering.config import ClusterConfig
from rankone.clustering.merging import merge_all
from rankone.clustering.sample import draw_sample
from rankone.core.artifact import refuse_existing
from rankone.decomposition.model import DecomposedModel
from rankone.harvest.origin import origin
from rankone.runtime.places import holds
from rankone.runtime.progress import meter
from rankone.text.corpus import described
from rankone.workspace import Workspace


@holds("out")
def cluster(workspace: Workspace, config: ClusterConfig, out: Path) -> Components:
    """Cluster the living subcomponents into components and write them to `out`.

    Raises RankOneError when `out` exists, when there is too little text, and where (almost) nothing fires.
    """
    refuse_existing(out)
    corpus = workspace.corpus
    about = {
        "config": config.model_dump(mode="json"),
        **origin(workspace.model, workspace.decomposition),
        "text": described(corpus),
    }
    with DecomposedModel(workspace.model, workspace.decomposition) as model:
        sample = draw_sample(model, workspace.tokenizer, corpus, config)
    with meter("merge", len(sample.names) - 1) as bar:
        merges = merge_all(sample, config.alpha, config.gamma, config.seed, bar)
    return save_components(out, sample, merges, about, config.alpha, {})
