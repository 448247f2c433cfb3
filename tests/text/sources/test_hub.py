"""Data sets on disk in the three layouts, read through `datasets` without a network."""

from __future__ import annotations

import json

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rankone.core.errors import RankOneError
from rankone.text.corpus import SPLITS, hashed_split
from rankone.text.opening import open_corpus
from rankone.text.sources.directory import DirectoryCorpus
from rankone.text.sources.hub import HubCorpus

SENTENCE_COUNT = 160


def write_dataset(root, configs):
    """Write {config: {split: rows}} as JSON lines with the README header that names configs and splits."""
    header = ["---", "configs:"]
    for config, splits in configs.items():
        header += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            path = root / config / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf8")
            header += [f"  - split: {split}", f"    path: {config}/{split}.jsonl"]
    (root / "README.md").write_text("\n".join([*header, "---", ""]), "utf8")
    return f"hf:{root}"


def pair_rows(a, b):
    return [
        {"translation": {a: f"{a} {i} from {a}-{b}", b: f"{b} {i} from {a}-{b}"}}
        for i in range(SENTENCE_COUNT)
    ]


@pytest.fixture
def pairs(tmp_path):
    return write_dataset(tmp_path, {f"{a}-{b}": {"train": pair_rows(a, b)} for a, b in PAIRS})


PAIRS = [("bg", "de"), ("bg", "en"), ("de", "en"), ("de", "fr"), ("en", "fr")]


@pytest.fixture
def own_splits(tmp_path):
    def texts(domain):
        return {s: [{"text": f"{domain} {s} {i}"} for i in range(3)] for s in SPLITS}

    return write_dataset(tmp_path, {d: texts(d) for d in ("de", "fr")})


def column_table(tmp_path, column, features=None):
    rows = [{"text": f"{tag} {i}", column: tag} for i in range(60) for tag in ("de", "en")]
    folder = tmp_path / "data"
    folder.mkdir(parents=True)
    if features is None:
        pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000.parquet")
    else:
        datasets.Dataset.from_list(rows, features=features).to_parquet(folder / "train-00000.parquet")
    return f"hf:{tmp_path}"


def everything(corpus, domain):
    return [d for split in SPLITS for d in corpus.documents(domain, split)]


# Layout (a): language pairs


def test_pairs_give_the_languages_of_the_config_names(pairs):
    assert open_corpus(pairs).domains() == ["bg", "de", "en", "fr"]


def test_pairs_prefer_english_as_the_other_language(pairs):
    corpus = HubCorpus(pairs)
    assert all("from de-en" in d for d in everything(corpus, "de"))
    assert all("from en-fr" in d for d in everything(corpus, "fr"))


def test_english_comes_from_a_pair_with_a_listed_domain(pairs):
    assert all("from bg-en" in d for d in everything(HubCorpus(pairs), "en"))
    assert all("from de-en" in d for d in everything(HubCorpus(f"{pairs}?domains=de,en"), "en"))


def test_eight_sentences_make_a_document_and_none_is_lost(pairs):
    documents = everything(HubCorpus(pairs), "de")
    assert len(documents) == SENTENCE_COUNT // 8
    assert {d.count("\n") for d in documents} == {7}
    lines = [line for d in documents for line in d.split("\n")]
    assert sorted(lines) == sorted(f"de {i} from de-en" for i in range(SENTENCE_COUNT))
    numbers = [int(line.split()[1]) for line in documents[0].split("\n")]
    assert numbers == list(range(numbers[0], numbers[0] + 8))


def test_empty_sentences_are_skipped(tmp_path):
    rows = [{"translation": {"de": t, "en": "x"}} for t in ("a", "", "  ", None, "b")]
    corpus = HubCorpus(write_dataset(tmp_path, {"de-en": {"train": rows}}))
    assert everything(corpus, "de") == ["a\nb"]


def test_a_single_unnamed_config_gets_its_languages_from_the_rows(tmp_path):
    corpus = HubCorpus(write_dataset(tmp_path, {"default": {"train": pair_rows("de", "en")}}))
    assert corpus.domains() == ["de", "en"]
    assert len(everything(corpus, "de")) == SENTENCE_COUNT // 8


# Layout (b): a column that names the domain


@pytest.mark.parametrize("column", ["lang", "language", "domain"])
def test_column_layout(tmp_path, column):
    corpus = open_corpus(column_table(tmp_path, column))
    assert corpus.domains() == ["de", "en"]
    assert sorted(everything(corpus, "de")) == sorted(f"de {i}" for i in range(60))


def test_column_of_class_labels_is_read_by_name(tmp_path):
    features = datasets.Features(
        {"text": datasets.Value("string"), "lang": datasets.ClassLabel(names=["en", "de"])}
    )
    corpus = HubCorpus(column_table(tmp_path, "lang", features))
    assert corpus.domains() == ["de", "en"]
    assert sorted(everything(corpus, "de")) == sorted(f"de {i}" for i in range(60))


def test_a_listed_domain_that_no_row_has_is_an_error(tmp_path):
    corpus = HubCorpus(column_table(tmp_path, "lang") + "?domains=de,sv")
    with pytest.raises(RankOneError, match=r"has no row with lang 'sv' in split 'train'"):
        corpus.documents("sv", "train")


# Layout (c): one config per domain


def test_config_layout_uses_the_splits_of_the_data_set(own_splits):
    corpus = HubCorpus(own_splits)
    assert corpus.domains() == ["de", "fr"]
    for split in SPLITS:
        assert corpus.documents("fr", split) == [f"fr {split} {i}" for i in range(3)]


def test_split_option_deals_one_split_by_hash(own_splits):
    corpus = HubCorpus(f"{own_splits}?split=test")
    for split in SPLITS:
        texts = [f"de test {i}" for i in range(3)]
        assert corpus.documents("de", split) == [t for t in texts if hashed_split(t) == split]


def test_without_all_three_splits_documents_are_dealt_from_train(tmp_path):
    rows = {s: [{"text": f"{s} {i}"} for i in range(50)] for s in ("test", "train")}
    corpus = HubCorpus(write_dataset(tmp_path, {"de": rows}))
    dealt = {s: corpus.documents("de", s) for s in SPLITS}
    assert sorted(d for docs in dealt.values() for d in docs) == sorted(f"train {i}" for i in range(50))
    assert all(hashed_split(d) == s for s, docs in dealt.items() for d in docs)


def test_field_option_names_the_text_column(tmp_path):
    rows = [{"id": str(i), "body": f"body {i}", "text": f"text {i}"} for i in range(20)]
    spec = write_dataset(tmp_path, {"de": {"train": rows}})
    assert sorted(everything(HubCorpus(f"{spec}?field=body"), "de")) == sorted(f"body {i}" for i in range(20))
    with pytest.raises(RankOneError, match=r"has no column 'boddy'; it has id, body, text\. Name the column"):
        HubCorpus(f"{spec}?field=boddy").documents("de", "train")


def test_config_option_keeps_one_config(own_splits):
    assert HubCorpus(f"{own_splits}?config=fr").domains() == ["fr"]
    with pytest.raises(RankOneError, match=r"has no config 'frr'\. Nearest: fr"):
        HubCorpus(f"{own_splits}?config=frr").domains()


def test_limit_stops_the_stream(pairs):
    some = HubCorpus(pairs).documents("de", "train", limit_chars=400)
    assert sum(map(len, some)) >= 400 > sum(map(len, some[:-1]))


# Errors and provenance


def test_domains_are_checked_before_the_network_is_used():
    corpus = HubCorpus("nobody/nothing?domains=de,en")
    assert corpus.domains() == ["de", "en"]
    with pytest.raises(RankOneError, match=r"no text for 'dee' in corpus 'nobody/nothing'; it has de, en"):
        corpus.documents("dee", "train")


@pytest.mark.parametrize("spec", ["hf:nobody/nothing?domains=de", "nobody/nothing?domains=de"])
def test_an_unreachable_hub_names_the_id_and_the_mend(spec):
    corpus = open_corpus(spec)  # HF_HUB_OFFLINE is set in conftest.py: no request leaves this machine
    with pytest.raises(
        RankOneError, match=r"cannot read data set 'nobody/nothing'.*and the network.*--text builtin"
    ):
        corpus.documents("de", "train")


def test_listed_domain_without_config_is_an_error(own_splits):
    with pytest.raises(RankOneError, match=r"has no text for 'sv'; its configs are de, fr"):
        HubCorpus(f"{own_splits}?domains=sv").documents("sv", "train")


def test_unknown_split_of_the_data_set_is_an_error(pairs):
    with pytest.raises(RankOneError, match=r"has no split 'tset'; it has train"):
        HubCorpus(f"{pairs}?split=tset").documents("de", "train")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "hf:a/b?domain=de",
            r"unknown option 'domain' in 'hf:a/b\?domain=de'; choose among .*Nearest: domains",
        ),
        ("hf:a/b?field=", r"option 'field' in .* has no value"),
        ("hf:?field=text", r"names no data set. Write hf:OWNER/NAME"),
        ("hf:./nowhere", r"no data set folder at './nowhere'. Check the path."),
    ],
)
def test_bad_specs_are_refused_at_once(spec, message):
    with pytest.raises(RankOneError, match=message):
        open_corpus(spec)


def test_broken_data_is_an_error_that_names_the_data_set(tmp_path):
    spec = write_dataset(tmp_path, {"de": {"train": [{"text": "a"}]}})
    (tmp_path / "de/train.jsonl").write_text('{"text": "a"}\n{"text": ', "utf8")
    with pytest.raises(RankOneError, match=rf"cannot read data set '{tmp_path}'"):
        HubCorpus(spec).documents("de", "train")


def test_rows_without_text_are_passed_over_wherever_they_stand(tmp_path):
    rows = [{"text": None}] * 3 + [{"text": f"text {i}"} for i in range(40)] + [{"text": None}]
    corpus = HubCorpus(write_dataset(tmp_path / "a", {"de": {"train": rows}}))
    assert corpus.domains() == ["de"]
    assert sorted(everything(corpus, "de")) == sorted(f"text {i}" for i in range(40))
    rows = [{"translation": None}] * 2 + pair_rows("de", "en") + [{"translation": None}]
    corpus = HubCorpus(write_dataset(tmp_path / "b", {"de-en": {"train": rows}}))
    assert sum(d.count("\n") + 1 for d in everything(corpus, "de")) == SENTENCE_COUNT
    corpus = HubCorpus(write_dataset(tmp_path / "c", {"de": {"train": [{"text": None}] * 5}}))
    with pytest.raises(
        RankOneError, match=r"column 'text' of .* holds no text \(NoneType\). Use \?field=NAME"
    ):
        corpus.documents("de", "train")


def test_hf_prefix_tells_a_data_set_folder_from_a_plain_one(own_splits, tmp_path):
    assert isinstance(open_corpus(own_splits), HubCorpus)
    assert isinstance(open_corpus(str(tmp_path)), DirectoryCorpus)


def test_fingerprint_follows_what_decides_the_text(own_splits, tmp_path):
    specs = ["a/b", "a/c", "a/b?revision=1", "a/b?config=x", "a/b?field=x", "a/b?split=test", own_splits]
    prints = [HubCorpus(s).fingerprint() for s in specs]
    assert len(set(prints)) == len(prints)
    assert HubCorpus("hf:a/b").fingerprint() == prints[0]
    (tmp_path / "de/train.jsonl").write_text('{"text": "another"}\n', "utf8")
    assert HubCorpus(own_splits).fingerprint() != prints[-1]
