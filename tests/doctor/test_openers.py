"""Openers compared on the same tokens, by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from rankone.core.errors import RankOneError
from rankone.doctor.openers import opener_losses
from rankone.models.loading import load_model, load_tokenizer
from rankone.subject import Subject
from rankone.text.openers import candidates
from rankone.text.passages import domain_passages
from rankone.text.sources.builtin import BuiltinCorpus


class Two:
    """German and code of the built-in text; nothing where `empty`."""

    name = "two"

    def __init__(self, empty=False):
        self.all, self.empty = BuiltinCorpus(), empty

    def domains(self):
        return ("de", "code")

    def documents(self, domain, split, limit_chars=None):
        return [] if self.empty else self.all.documents(domain, split, limit_chars)


@pytest.fixture(scope="module")
def mini():
    return load_model("mini"), load_tokenizer("mini")


def by_hand(model, tokenizer, domain, opener):
    """Token by token, without rows or masks."""
    losses = []
    for text in domain_passages(BuiltinCorpus(), domain, "validation", 64 * 3)[:3]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:64]
        row = torch.tensor([[*opener, *ids]])
        with torch.no_grad():
            logits = model(row).logits[0]
        start = len(opener) + 1
        losses.append(F.cross_entropy(logits[start - 1 : -1], row[0, start:], reduction="none"))
    return float(torch.cat(losses).mean())


def test_the_same_tokens_are_scored_after_every_opener(mini):
    losses = opener_losses(Subject(*mini, Two()), candidates(mini[1]), 3 * 64)
    assert list(losses) == ["<|endoftext|>", ""]
    for value, opener in zip(losses.values(), ([0], []), strict=True):
        expected = sum(by_hand(*mini, domain, opener) for domain in ("de", "code")) / 2
        assert value == pytest.approx(expected, abs=1e-5)


def test_a_domain_without_text_is_named(mini):
    with pytest.raises(RankOneError, match="de"):
        opener_losses(Subject(*mini, Two(empty=True)), candidates(mini[1]), 64)
