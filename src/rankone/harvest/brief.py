"""A small harvest for the length of a task: on training text, in a temporary folder that goes with it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rankone.decomposition.model import Decomposition
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.combine import combine
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.run import harvest
from rankone.models.context import usual_context
from rankone.text.corpus import Corpus

# Enough for a statistical label: the share of a kind among so many draws is known to a tenth.
EXAMPLES = 100


def brief_harvest(
    target: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    decomposition: Decomposition,
    corpus: Corpus,
    domains: Sequence[str],
    tokens: int,
) -> HarvestStore:
    """Harvest `tokens` training tokens of each domain; the files are removed when the store is no longer used."""
    config = HarvestConfig(
        domains=tuple(domains), tokens=tokens, context=usual_context(target), examples=EXAMPLES
    )
    folder = TemporaryDirectory(prefix="rankone-harvest-")
    run, out = Path(folder.name) / "run", Path(folder.name) / "harvest"
    harvest(target, tokenizer, decomposition, corpus, config, run)
    store = HarvestStore.open(combine([run], out), decomposition)
    weakref.finalize(store, folder.cleanup)
    return store
