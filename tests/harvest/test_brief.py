"""A harvest that is made on the way, and goes with the task."""

from __future__ import annotations

import gc

from tests.decomposition.tiny import decomposed
from tests.tiny import tiny_model

from rankone.harvest.brief import brief_harvest
from rankone.workspace import Workspace


def test_it_counts_training_text_and_leaves_nothing(tokenizer, corpus):
    model = tiny_model(len(tokenizer))
    decomposition = decomposed(model, "random")
    store = brief_harvest(Workspace(model, tokenizer, corpus, decomposition), ["de", "code"], 50)
    assert store.tokens() == {"de": 50, "code": 50}
    assert store.record.config.split == "train"
    assert store.names() == decomposition.names()
    assert store.page(store.names()[3]).tokens == 100
    folder = store.artifact.path.parent
    assert folder.is_dir()
    del store
    gc.collect()
    assert not folder.exists()
