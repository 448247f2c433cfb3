"""Forget text under a budget: the tokens that whole documents have, read no further than it takes."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.text import budgets
from rankone.text.blocks import encode
from rankone.text.budgets import OPENING, budget_windows


@pytest.fixture
def encoded(monkeypatch) -> list[str]:
    """The documents that were encoded, in their order."""
    read: list[str] = []
    monkeypatch.setattr(
        budgets, "encode", lambda t, documents: read.extend(documents) or encode(t, documents)
    )
    return read


@pytest.mark.parametrize("tokens", [4, 300, 3000])
def test_a_budget_is_filled_from_the_first_documents_and_no_others_are_encoded(
    encoded, corpus, tokenizer, tokens
):
    documents = [text[:150] for text in corpus.documents("en", "train", 60_000)]
    blocks = budget_windows(tokenizer, documents, tokens, 32)
    whole = [i for ids in encode(tokenizer, documents) for i in ids[OPENING:]]
    assert blocks.ids[blocks.valid].tolist() == whole[:tokens]
    assert encoded == documents[: len(encoded)]
    taken = next(
        n
        for n in range(1, len(documents))
        if sum(len(ids[OPENING:]) for ids in encode(tokenizer, documents[:n])) >= tokens
    )
    assert taken <= len(encoded) <= max(8, 3 * taken)


def test_too_little_text_is_said_with_what_there_is(encoded, corpus, tokenizer):
    documents = [text[:150] for text in corpus.documents("en", "train", 4000)]
    there = sum(len(ids[OPENING:]) for ids in encode(tokenizer, documents))
    with pytest.raises(RankOneError, match=f"has {there} tokens beyond"):
        budget_windows(tokenizer, documents, there + 1, 32)
    assert encoded == documents
