"""From text to components: what fires, what belongs together, the artefact."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.clustering.components import Components, save_components
from rankone.clustering.config import ClusterConfig
from rankone.clustering.merging import merge_all
from rankone.clustering.sample import draw_sample
from rankone.core.artifact import refuse_existing
from rankone.decomposition.model import DecomposedModel, Decomposition
from rankone.harvest.origin import origin
from rankone.runtime.progress import meter
from rankone.text.corpus import Corpus


def cluster(
    target: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    decomposition: Decomposition,
    corpus: Corpus,
    config: ClusterConfig,
    out: Path,
) -> Components:
    """Cluster the living subcomponents into components and write them to `out`.

    Raises RankOneError when `out` exists, when there is too little text, and where (almost) nothing fires.
    """
    refuse_existing(out)
    about = {
        "config": config.model_dump(mode="json"),
        **origin(target, decomposition),
        "text": {"name": Path(corpus.name).name, "fingerprint": corpus.fingerprint()},
    }
    with DecomposedModel(target, decomposition) as model:
        sample = draw_sample(model, tokenizer, corpus, config)
    with meter("merge", len(sample.names) - 1) as bar:
        merges = merge_all(sample, config.alpha, config.gamma, config.seed, bar)
    return save_components(out, sample, merges, about, config.alpha, {})
