"""The batches cover the text once, in the same way for everybody."""

from __future__ import annotations

import pytest
import torch

from rankone.core.errors import RankOneError
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.plan import batches


class Texts:
    """A corpus by dictionary."""

    name = "texts"

    def __init__(self, **documents):
        self.by_domain = documents

    def domains(self):
        return list(self.by_domain)

    def documents(self, domain, split, limit_chars=None):
        return self.by_domain[domain]

    def fingerprint(self):
        return "texts"


SENTENCES = ["the cat sat", "a dog", "the end of the tale and of the log", "mat", "", "on the mat " * 12]


def config(**changes):
    return HarvestConfig.model_validate({"domains": ("a", "b"), "context": 16, "batch_tokens": 40, **changes})


def test_every_token_once_and_in_its_place(tokenizer):
    corpus = Texts(a=SENTENCES, b=SENTENCES[::-1])
    found = list(batches(tokenizer, corpus, config()))
    assert [batch.index for batch in found] == list(range(len(found)))
    assert len(found) > 4
    text = {0: [], 1: []}
    expected = 0
    for batch in found:
        ids, valid = batch.blocks.ids, batch.blocks.valid
        assert len(ids) == 1 or ids.numel() <= 40
        assert valid.any(0)[1:].all(), "a column of padding"
        for row, mask, start in zip(ids, valid, batch.starts.tolist(), strict=True):
            assert start == expected
            size = int(mask.sum())
            assert size > 0
            assert mask[1 : size + 1].all(), "positions of a row are counted from its start"
            text[batch.domain].append(row[mask].tolist())
            expected += size
    for number in (0, 1):
        whole = [tokenizer(d, add_special_tokens=False)["input_ids"] for d in corpus.by_domain["ab"[number]]]
        pieces = [ids[i : i + 15] for ids in whole for i in range(0, len(ids), 15)]
        assert sorted(text[number]) == sorted(pieces)


def test_the_tokens_asked_for(tokenizer):
    found = list(batches(tokenizer, Texts(a=SENTENCES, b=["mat"]), config(tokens=20)))
    sizes = [sum(b.blocks.tokens for b in found if b.domain == d) for d in (0, 1)]
    assert sizes == [20, len(tokenizer("mat", add_special_tokens=False)["input_ids"])]


def test_documents_come_in_groups(tokenizer, monkeypatch):
    """Grouping changes the order of rows, not the text."""
    whole, grouped = [], []
    for kept, size in ((whole, 512), (grouped, 2)):
        monkeypatch.setattr("rankone.harvest.counting.plan.DOCUMENTS_AT_ONCE", size)
        for batch in batches(tokenizer, Texts(a=SENTENCES, b=SENTENCES), config()):
            kept.append(batch.blocks.ids[batch.blocks.valid])
    assert torch.equal(torch.cat(whole).sort().values, torch.cat(grouped).sort().values)


def test_empty_and_unknown_domains_are_named(tokenizer):
    with pytest.raises(RankOneError, match="train text of 'b' in 'texts' is empty"):
        list(batches(tokenizer, Texts(a=SENTENCES, b=[""]), config()))
    with pytest.raises(RankOneError, match="no text for 'b'"):
        list(batches(tokenizer, Texts(a=SENTENCES), config()))
    with pytest.raises(RankOneError, match="unknown split 'tset'"):
        HarvestConfig.checked({"split": "tset"}, "harvest")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": (0.0, 0.5)}, "not one of the thresholds"),
        ({"thresholds": (0.1, 0.1)}, "different numbers"),
        ({"thresholds": (0.1, 1.5)}, "different numbers"),
        ({"domains": ("a", "a")}, "named twice"),
        ({"tokens": 0}, "greater than 0"),
        ({"windwo": 3}, "windwo"),
    ],
)
def test_settings_that_make_no_sense(change, message):
    with pytest.raises(RankOneError, match=message):
        HarvestConfig.checked({"domains": ("a",), **change}, "harvest")
