"""The corpus inside the package: complete, parallel, clean, and split the same way in every language."""

from __future__ import annotations

import ast
import re
import unicodedata

import pytest

from rankone.core.errors import RankOneError
from rankone.text.corpus import SPLITS
from rankone.text.opening import open_corpus
from rankone.text.sources import builtin
from rankone.text.sources.builtin import LANGUAGES

PASSAGE_COUNTS = {"train": 151, "validation": 67, "test": 118}
CODE_COUNTS = {"train": 50, "validation": 22, "test": 38}
# Frequent words that none of the other languages shares as frequent words.
MARKERS = {
    "de": {"und", "nicht", "ist", "wird", "auf", "sich", "das", "eine"},
    "en": {"the", "and", "of", "was", "with", "that", "it", "is"},
    "fr": {"les", "et", "des", "dans", "est", "pour", "une", "du"},
    "es": {"los", "el", "y", "por", "una", "con", "las", "se"},
    "it": {"che", "di", "il", "non", "per", "della", "si", "i"},
    "nl": {"het", "een", "van", "niet", "de", "op", "zijn", "dat"},
    "sv": {"och", "att", "det", "som", "på", "är", "inte", "för"},
}


def test_domains_are_the_seven_languages_and_code(corpus):
    assert corpus.domains() == ["de", "en", "fr", "es", "it", "nl", "sv", "code"]
    assert corpus.name == "builtin"


@pytest.mark.parametrize("domain", LANGUAGES)
def test_every_language_has_all_passages(corpus, domain):
    assert {s: len(corpus.documents(domain, s)) for s in SPLITS} == PASSAGE_COUNTS


def test_code_counts_and_syntax(corpus):
    assert {s: len(corpus.documents("code", s)) for s in SPLITS} == CODE_COUNTS
    for split in SPLITS:
        for snippet in corpus.documents("code", split):
            ast.parse(snippet)


@pytest.mark.parametrize("domain", [*LANGUAGES, "code"])
def test_splits_are_disjoint(corpus, domain):
    texts = [d for split in SPLITS for d in corpus.documents(domain, split)]
    assert len(set(texts)) == len(texts)


def test_documents_at_one_place_are_translations():
    """A passage has one split for all its languages, so documents() lines up across languages."""
    ids = [row["id"] for row in builtin._rows(builtin.PASSAGES)]
    assert len(set(ids)) == len(ids) == 336
    for row in builtin._rows(builtin.PASSAGES):
        lengths = [len(row[language]) for language in LANGUAGES]
        assert max(lengths) < 1.5 * min(lengths), row["id"]


def test_splits_cover_every_part():
    rows = builtin._rows(builtin.PASSAGES)
    for part in "1234567":
        of_part = [r["split"] for r in rows if r["id"].startswith(f"p{part}-")]
        assert len(of_part) == 48
        assert 20 <= of_part.count("train") <= 23
        assert 9 <= of_part.count("validation") <= 11
        assert 16 <= of_part.count("test") <= 18


def test_any_prefix_mixes_the_parts():
    first = [row["id"][:2] for row in builtin._rows(builtin.PASSAGES)[:7]]
    assert sorted(first) == [f"p{i}" for i in range(1, 8)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_is_in_its_language(corpus, language):
    text = " ".join(d for split in SPLITS for d in corpus.documents(language, split)).lower()
    words = re.findall(r"\w+", text)
    share = {tag: sum(w in marks for w in words) for tag, marks in MARKERS.items()}
    assert max(share, key=lambda tag: share[tag]) == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_is_clean(corpus, language):
    for split in SPLITS:
        for text in corpus.documents(language, split):
            assert text == unicodedata.normalize("NFC", text).strip()
            assert not re.search(r"\s\s|[\t\n\u00a0\u2019\u00ad\ufffd]", text), text
            assert text[-1] in ".?!", text
            if language in ("en", "nl"):
                assert text.isprintable()
                assert not set("“”‘„«»") & set(text)


def test_limit_chars_stops_after_the_limit_is_reached(corpus):
    everything = corpus.documents("de", "train")
    some = corpus.documents("de", "train", limit_chars=1000)
    assert some == everything[: len(some)]
    assert sum(map(len, some)) >= 1000 > sum(map(len, some[:-1]))
    assert corpus.documents("de", "train", limit_chars=0) == []


def test_fingerprint_follows_the_data(corpus, monkeypatch):
    before = corpus.fingerprint()
    assert re.fullmatch(r"[0-9a-f]{64}", before)
    assert before == corpus.fingerprint()
    original = builtin._data
    monkeypatch.setattr(builtin, "_data", lambda name: original(name) + b"\n")
    assert corpus.fingerprint() != before


def test_unknown_domain_and_split_are_named(corpus):
    with pytest.raises(RankOneError, match=r"no text for 'cod' in corpus 'builtin'.*Nearest: code"):
        corpus.documents("cod", "train")
    with pytest.raises(RankOneError, match=r"unknown split 'dev'; choose one of train, validation, test"):
        corpus.documents("de", "dev")


def test_open_corpus_finds_it():
    assert isinstance(open_corpus("builtin"), builtin.BuiltinCorpus)
