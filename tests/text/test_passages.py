"""Text of one domain: as many tokens as asked for, and what is wrong is named."""

from __future__ import annotations

import pytest

from rankone.core.errors import RankOneError
from rankone.text.passages import domain_blocks, domain_passages
from rankone.text.sources.directory import DirectoryCorpus


def test_exactly_the_tokens_asked_for_or_all_there_are(tokenizer, corpus):
    assert domain_blocks(tokenizer, corpus, "de", "test", 100, 20).tokens == 100
    assert domain_blocks(tokenizer, corpus, "de", "test", 100, 20).ids.shape[1] == 20
    everything = sum(len(ids) for ids in tokenizer(corpus.documents("de", "test"))["input_ids"])
    assert domain_blocks(tokenizer, corpus, "de", "test", 10_000_000, 20).tokens == everything


def test_long_documents_are_cut_at_line_ends(tmp_path):
    lines = [f"Zeile {i} " + "x" * 200 for i in range(30)]
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "a.train.txt").write_text("\n".join(lines), "utf8")
    passages = domain_passages(DirectoryCorpus(tmp_path), "de", "train", 10_000)
    assert len(passages) > 1
    assert "\n".join(passages) == "\n".join(lines)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"domain": "dk"}, "no text for 'dk'"),
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"tokens": 0}, "0 tokens per domain are asked for"),
        ({"tokens": -3}, "-3 tokens per domain"),
    ],
)
def test_bad_input_is_named(tokenizer, corpus, change, complaint):
    given = {"domain": "de", "split": "test", "tokens": 10, "length": 20}
    with pytest.raises(RankOneError, match=complaint):
        domain_blocks(tokenizer, corpus, **{**given, **change})


def test_no_text_is_an_error(tokenizer, tmp_path):
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "a.train.txt").write_text("Hallo.", "utf8")
    with pytest.raises(RankOneError, match="the test text of 'de' has 0 tokens, but 1 are needed"):
        domain_blocks(tokenizer, DirectoryCorpus(tmp_path), "de", "test", 10, 20)
