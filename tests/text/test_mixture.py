"""Mixtures: proportions, determinism, what is left out, and domains with too little text."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from rankone.core.errors import RankOneError
from rankone.text.mix import DomainMix
from rankone.text.mixture import CHARS_PER_TOKEN, CHUNK_CHARS, mixture_pieces, mixture_rows
from rankone.text.sources.directory import DirectoryCorpus

WORDS = {"en": "alpha", "de": "beta", "fr": "gamma"}
MIXTURE = {"en": DomainMix(weight=3), "de": DomainMix(weight=1), "fr": DomainMix(weight=2)}


class Numbered:
    """Documents like `beta train 12 bbbb…`: the most frequent letter tells the domain, no two are the same."""

    name = "numbered"

    def __init__(self, **documents):
        self.count = {"en": 800, "de": 800, "fr": 800, **documents}

    def domains(self):
        return list(self.count)

    def documents(self, domain, split, limit_chars=None):
        word = WORDS[domain]
        return [f"{word} {split} {i} ".ljust(40, word[0]) for i in range(self.count[domain])]

    def fingerprint(self):
        return "numbered"


def rng(seed=0):
    return np.random.default_rng(seed)


def rows_of(tokenizer, corpus, tokens, mixture=MIXTURE, context=16, seed=0, **options):
    source = rng(seed)
    pieces = mixture_pieces(corpus, mixture, tokens, source, **options)
    return mixture_rows(tokenizer, pieces, mixture, tokens, context, source)


def counts(tokenizer, rows):
    """Number of rows of each domain (a row is never of two)."""
    letters = {word[0]: domain for domain, word in WORDS.items()}
    texts = (tokenizer.decode(row) for row in rows)
    return Counter(letters[max(letters, key=text.count)] for text in texts)


def test_rows_are_in_the_mixtures_proportions(tokenizer):
    rows = rows_of(tokenizer, Numbered(), tokens=6000)
    assert counts(tokenizer, rows) == {"en": 3000 // 16, "de": 1000 // 16, "fr": 2000 // 16}


def test_only_the_ratio_of_the_weights_counts(tokenizer):
    scaled = {d: DomainMix(weight=10 * m.weight) for d, m in MIXTURE.items()}
    first, second = (rows_of(tokenizer, Numbered(), 3000, mixture) for mixture in (MIXTURE, scaled))
    assert np.array_equal(first, second)


def test_domains_are_shuffled_together(tokenizer):
    rows = rows_of(tokenizer, Numbered(), tokens=6000)
    first, second = (counts(tokenizer, half) for half in np.array_split(rows, 2))
    for domain in WORDS:
        assert min(first[domain], second[domain]) > 0.5 * max(first[domain], second[domain])


def test_the_generator_decides(tokenizer):
    first, again, other = (rows_of(tokenizer, Numbered(), 3000, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_text_comes_twice(tokenizer):
    rows = rows_of(tokenizer, Numbered(), tokens=6000, context=64)
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_a_domain_left_out_leaves_the_others_their_text(tokenizer):
    full = mixture_pieces(Numbered(), MIXTURE, 6000, rng())
    part = mixture_pieces(Numbered(), MIXTURE, 6000, rng(), without=("de",))
    assert list(part) == ["en", "fr"]
    assert part["en"] == full["en"]
    for pieces in (full, part):
        assert sum(map(len, pieces["fr"])) == pytest.approx(6000 / 3 * CHARS_PER_TOKEN, abs=40)
    rows = mixture_rows(tokenizer, part, MIXTURE, 3000, 16, rng())
    assert counts(tokenizer, rows) == {"en": 1500 // 16, "fr": 1000 // 16}


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (("dee",), r"cannot leave out 'dee': the mixture has en, de, fr\. Nearest: de"),
        (("fr", "en", "de"), r"the mixture has no domain \(left\)"),
    ],
)
def test_what_cannot_be_left_out_is_said(without, message):
    with pytest.raises(RankOneError, match=message):
        mixture_pieces(Numbered(), MIXTURE, 600, rng(), without=without)


def test_an_empty_mixture_is_refused():
    with pytest.raises(RankOneError, match=r"the mixture has no domain \(left\)"):
        mixture_pieces(Numbered(), {}, 600, rng())


def test_text_for_less_than_a_row_is_an_error(tokenizer):
    with pytest.raises(RankOneError, match="not enough text for one row of 900 tokens"):
        rows_of(tokenizer, Numbered(), tokens=600, context=900)


def test_a_domain_without_text_is_named():
    with pytest.raises(RankOneError, match=r"no text for 'nl' in corpus 'numbered'"):
        mixture_pieces(Numbered(), {"nl": DomainMix(weight=1)}, 600, rng())


def test_a_domain_with_less_than_a_row_is_refused_beside_others(tokenizer):
    """Of two domains one would have been trained on, and the other's weight counted for nothing."""
    pieces = {"en": [f"alpha train {i}" for i in range(400)], "de": ["beta"]}
    with pytest.raises(
        RankOneError, match=r"domain 'de' of the mixture has \d+ tokens, less than one row of 16"
    ):
        mixture_rows(
            tokenizer, pieces, {"en": DomainMix(weight=1), "de": DomainMix(weight=1)}, 400, 16, rng()
        )


def test_a_short_domain_is_used_once_and_that_is_said(tokenizer, caplog):
    caplog.set_level("INFO", "rankone")
    rows = rows_of(tokenizer, Numbered(de=5), tokens=6000)
    documents = Numbered(de=5).documents("de", "train")
    tokens = sum(len(tokenizer(d)["input_ids"]) + 1 for d in documents)
    assert tokens < 300
    assert counts(tokenizer, rows)["de"] == tokens // 16
    (line,) = [line for line in caplog.messages if "used once, not repeated" in line]
    assert line.strip().startswith(f"de: {tokens} tokens of 1,000 wanted")


def test_the_split_is_asked_for():
    for split in ("train", "test"):
        pieces = mixture_pieces(Numbered(), MIXTURE, 600, rng(), split)
        assert all(f" {split} " in piece for own in pieces.values() for piece in own)


def folder(root, **sources):
    """A directory corpus with one domain; each source holds documents named after it."""
    for name, count in sources.items():
        path = root / "en" / f"{name}.train.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n\n".join(f"{name} {i} ".ljust(100, "x") for i in range(count)), "utf8")
    return DirectoryCorpus(root)


def share(pieces, source):
    return sum(len(piece) for piece in pieces if piece.startswith(source))


def test_without_named_sources_all_of_a_folder_is_read(tmp_path):
    corpus = folder(tmp_path, laws=6, news=5)
    pieces = mixture_pieces(corpus, {"en": DomainMix(weight=1)}, 10**6, rng())["en"]
    text = "\n".join(pieces)
    assert [text.count(f"{source} ") for source in ("laws", "news")] == [6, 5]


def test_named_sources_are_taken_equally(tmp_path):
    corpus = folder(tmp_path, news=50, novels=500, laws=500)
    mixture = {"en": DomainMix(weight=1, sources=["news", "novels"])}
    pieces = mixture_pieces(corpus, mixture, 1600, rng())["en"]
    assert share(pieces, "laws") == 0
    for source in ("news", "novels"):
        assert share(pieces, source) == pytest.approx(4000, abs=200)


def test_what_a_short_source_lacks_falls_to_the_others(tmp_path):
    corpus = folder(tmp_path, news=10, novels=500, laws=500)
    mixture = {"en": DomainMix(weight=1, sources=["novels", "news", "laws"])}
    pieces = mixture_pieces(corpus, mixture, 3000, rng())["en"]
    assert share(pieces, "news") == 1000
    for source in ("novels", "laws"):
        assert share(pieces, source) == pytest.approx(7000, abs=200)
    assert len(set(pieces)) == len(pieces)


def test_an_unknown_source_is_named(tmp_path):
    corpus = folder(tmp_path, news=5, novels=5)
    mixture = {"en": DomainMix(weight=1, sources=["news", "nowels"])}
    with pytest.raises(
        RankOneError, match=r"domain 'en' has no source \['nowels'\]; it has \['news', 'novels'\]"
    ):
        mixture_pieces(corpus, mixture, 600, rng())


def test_long_documents_are_cut_into_pieces():
    corpus = Numbered()
    corpus.documents = lambda domain, split, limit_chars=None: ["\n".join(f"line {i}" for i in range(2000))]
    (pieces,) = mixture_pieces(corpus, {"en": DomainMix(weight=1)}, 1000, rng()).values()
    assert 3 <= len(pieces) <= 5
    assert max(map(len, pieces)) < CHUNK_CHARS + 20
