"""Text of one domain: as many tokens as asked for, and what is wrong is named."""

from __future__ import annotations

from copy import deepcopy

import pytest

from rankone.core.errors import RankOneError
from rankone.text.corpus import SPLITS, described
from rankone.text.passages import domain_blocks, domain_passages, shortages
from rankone.text.sources.directory import DirectoryCorpus


def test_exactly_the_tokens_asked_for_or_all_there_are(tokenizer, corpus):
    assert domain_blocks(tokenizer, corpus, "de", "test", 100, 20).tokens == 100
    assert domain_blocks(tokenizer, corpus, "de", "test", 100, 20).ids.shape[1] == 20
    everything = sum(len(ids) for ids in tokenizer(corpus.documents("de", "test"))["input_ids"])
    assert domain_blocks(tokenizer, corpus, "de", "test", 10_000_000, 20).tokens == everything


def test_that_there_are_fewer_is_said(tokenizer, corpus, caplog):
    with caplog.at_level("INFO", "rankone"):
        domain_blocks(tokenizer, corpus, "en", "test", 5, 16)
        assert not caplog.messages
        blocks = domain_blocks(tokenizer, corpus, "en", "test", 10_000_000, 16)
    assert caplog.messages == [
        f"the test text of 'en': {blocks.tokens:,} tokens of 10,000,000 wanted, all there are"
    ]


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
    with pytest.raises(
        RankOneError,
        match=r"'de' has no text of the split 'test', only of train\. Add a file SOURCE\.test\.txt",
    ):
        domain_blocks(tokenizer, DirectoryCorpus(tmp_path), "de", "test", 10, 20)
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "a.test.txt").write_text("", "utf8")
    with pytest.raises(RankOneError, match=r"'en' has no text of the split 'test'\. Give more text"):
        domain_blocks(tokenizer, DirectoryCorpus(tmp_path), "en", "test", 10, 20)


def test_one_document_is_of_one_split_and_what_makes_more_of_it_is_said(tokenizer, tmp_path):
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "a.txt").write_text("".join(f"Zeile {i}.\n" for i in range(300)), "utf8")
    corpus = DirectoryCorpus(tmp_path)
    (held,) = [split for split in SPLITS if corpus.documents("de", split)]
    lacking = next(split for split in SPLITS if split != held)
    with pytest.raises(
        RankOneError, match=f"only of {held}.*more documents: they are separated by blank lines"
    ):
        domain_blocks(tokenizer, corpus, "de", lacking, 10, 20)


@pytest.fixture
def three_sources(tmp_path):
    """Sources of which the alphabetically first has one endless document."""
    (tmp_path / "de").mkdir()
    for name, word in (("a", "erste"), ("b", "zweite"), ("c", "dritte")):
        lines = "\n".join([f"{word} " * 20] * 400) if name == "a" else "\n\n".join([f"{word} " * 20] * 60)
        (tmp_path / "de" / f"{name}.test.txt").write_text(lines, "utf8")
    return DirectoryCorpus(tmp_path)


def test_text_is_drawn_evenly_from_the_sources_of_a_domain(three_sources, tokenizer):
    blocks = domain_blocks(tokenizer, three_sources, "de", "test", 3000, 64)
    said = tokenizer.decode(blocks.ids[blocks.valid])
    counts = [said.count(word) for word in ("erste", "zweite", "dritte")]
    assert min(counts) > 0.6 * max(counts), counts
    assert described(three_sources)["sources"] == {"de": ["a", "b", "c"]}


def test_less_text_is_the_beginning_of_more(three_sources):
    few, many = (domain_passages(three_sources, "de", "test", n) for n in (100, 900))
    assert many[: len(few)] == few
    assert len(many) > len(few)


def test_one_source_says_nothing_of_sources(tmp_path, corpus):
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "a.test.txt").write_text("Hallo.", "utf8")
    assert list(described(DirectoryCorpus(tmp_path))) == ["name", "fingerprint"]
    assert described(corpus) == {"name": "builtin", "fingerprint": corpus.fingerprint()}


def test_text_that_needs_many_characters_per_token_is_read_on(tmp_path, tokenizer):
    """Words of forty letters that are one token each."""
    words = deepcopy(tokenizer)
    words.add_tokens(["ungeheuerlichkeitsverdachtsmomentenliste"])
    (tmp_path / "de").mkdir()
    documents = ["ungeheuerlichkeitsverdachtsmomentenliste" * 30] * 40
    (tmp_path / "de" / "a.test.txt").write_text("\n\n".join(documents), "utf8")
    assert domain_blocks(words, DirectoryCorpus(tmp_path), "de", "test", 900, 64).tokens == 900


def test_shortages_are_counted(tokenizer, corpus):
    text = {d: domain_blocks(tokenizer, corpus, d, "test", 13_000, 64) for d in ("de", "code")}
    assert shortages(text, 13_000) == {"code": text["code"].tokens}
    assert shortages(text, text["code"].tokens) == {}
