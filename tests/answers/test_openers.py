"""Which opener reads text best: the same tokens for all, and advice only where there is something to gain."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rankone.answers.openers import OpenerRequest, try_openers
from rankone.core.errors import RankOneError
from rankone.models.loading import load_model, load_tokenizer
from rankone.text.passages import domain_passages
from rankone.text.sources.builtin import BuiltinCorpus
from rankone.workspace import Workspace


@pytest.fixture(scope="module")
def mini():
    return Workspace(load_model("mini"), load_tokenizer("mini"), BuiltinCorpus())


def by_hand(space, domain, opener, passages):
    """Token by token, without rows or masks."""
    losses = []
    for text in domain_passages(space.corpus, domain, "validation", 64 * passages)[:passages]:
        ids = space.tokenizer(text, add_special_tokens=False)["input_ids"][:64]
        row = torch.tensor([[*opener, *ids]])
        with torch.no_grad():
            logits = space.model(row).logits[0]
        start = len(opener) + 1
        losses.append(F.cross_entropy(logits[start - 1 : -1], row[0, start:], reduction="none"))
    return float(torch.cat(losses).mean())


def test_openers_of_the_built_in_model(mini):
    found = try_openers(mini, OpenerRequest(domains=("de", "code"), passages=3))
    assert [t.opener for t in found.trials] == ["<|endoftext|>", ""]
    for trial, opener in zip(found.trials, ([0], []), strict=True):
        for domain, value in trial.cross_entropy.items():
            assert value == pytest.approx(by_hand(mini, domain, opener, 3), abs=1e-5)
    assert found.used == found.best == "<|endoftext|>"
    assert found.advice == ""


def test_a_worse_opener_is_told(mini):
    bare = Workspace(mini.model, mini.tokenizer, mini.corpus, opener="none")
    found = try_openers(bare, OpenerRequest(domains=("de",), passages=3))
    assert (found.used, found.best) == ("", "<|endoftext|>")
    assert "nats better with the opener <|endoftext|> than with none" in found.advice


def test_unknown_text_is_named(mini):
    with pytest.raises(RankOneError, match="no text for 'xx'"):
        try_openers(mini, OpenerRequest(domains=("xx",)))
