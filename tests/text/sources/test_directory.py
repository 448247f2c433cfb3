"""Local folders of text: formats, splits by file name or by hash, limits and errors."""

from __future__ import annotations

import json

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rankone.core.errors import RankOneError
from rankone.text.chats import Chat
from rankone.text.corpus import SPLITS, hashed_split
from rankone.text.opening import open_corpus
from rankone.text.sources.directory import DirectoryCorpus, read_documents


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode()
    path.write_bytes(zstandard.ZstdCompressor().compress(data) if path.suffix == ".zst" else data)


def jsonl(texts):
    return "".join(json.dumps({"text": t}) + "\n" for t in texts)


@pytest.mark.parametrize("suffix", [".txt", ".txt.zst"])
def test_blank_lines_part_plain_documents(tmp_path, suffix):
    write(tmp_path / f"a{suffix}", "eins\nzwei\n\ndrei\n\n\n\nvier\n")
    assert list(read_documents(tmp_path / f"a{suffix}")) == ["eins\nzwei", "drei", "vier"]


def test_form_feeds_part_documents_that_keep_their_blank_lines(tmp_path):
    write(tmp_path / "a.txt", "x = 1\n\ny = 2\n\f\nz = 3\n\f\n")
    assert list(read_documents(tmp_path / "a.txt")) == ["x = 1\n\ny = 2", "z = 3"]


def test_a_separator_across_two_reads_is_found(tmp_path):
    long = "a" * ((1 << 20) - 1)
    write(tmp_path / "a.txt", f"{long}\n\nb")
    assert list(read_documents(tmp_path / "a.txt")) == [long, "b"]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst"])
def test_json_lines_keep_text_as_it_is(tmp_path, suffix):
    texts = ["a\n\nb", "é\f", "  c "]
    write(tmp_path / f"a{suffix}", jsonl(texts))
    assert list(read_documents(tmp_path / f"a{suffix}")) == texts


def test_split_in_the_file_name_decides(tmp_path):
    write(tmp_path / "de/novels.train.txt", "eins\n\nzwei")
    write(tmp_path / "de/novels.val.txt", "drei")
    write(tmp_path / "de/news.test.jsonl", jsonl(["vier"]))
    found = DirectoryCorpus(tmp_path)
    assert {s: found.documents("de", s) for s in SPLITS} == {
        "train": ["eins", "zwei"],
        "validation": ["drei"],
        "test": ["vier"],
    }
    assert found.sources("de") == ["news", "novels"]
    assert found.source_documents("de", "news", "train") == []


def test_unmarked_documents_are_dealt_by_hash(tmp_path):
    texts = [f"document {i}" for i in range(500)]
    write(tmp_path / "en/all.txt", "\n\n".join(texts))
    dealt = {s: DirectoryCorpus(tmp_path).documents("en", s) for s in SPLITS}
    assert sorted(d for docs in dealt.values() for d in docs) == sorted(texts)
    assert 360 <= len(dealt["train"]) <= 440
    assert 25 <= len(dealt["validation"]) <= 75
    assert 25 <= len(dealt["test"]) <= 75


@given(st.text())
def test_hashed_split_is_one_of_three_and_stable(document):
    assert hashed_split(document) in SPLITS
    assert hashed_split(document) == hashed_split("".join(list(document)))


def test_hashed_split_of_known_text():
    """Fixed: a change would move documents between train and test of every user."""
    letters = {"train": "t", "validation": "v", "test": "e"}
    dealt = "".join(letters[hashed_split(f"document {i}")] for i in range(30))
    assert dealt == "ttttttvtvtetttettvttttttettttv"


def test_a_domain_of_many_files_is_looked_through_once(tmp_path, monkeypatch):
    """A document a file is a common layout; each of them was compared with all the others."""
    from rankone.text.sources import directory

    for n in range(50):
        write(tmp_path / "en" / f"{n}.txt", f"document {n}")
    seen, split_of = [], directory.split_of
    monkeypatch.setattr(directory, "split_of", lambda path: seen.append(path) or split_of(path))
    corpus = directory.DirectoryCorpus(tmp_path)
    documents = [d for split in ("train", "validation", "test") for d in corpus.documents("en", split)]
    assert sorted(documents) == sorted(f"document {n}" for n in range(50))
    assert len(seen) <= 50


def test_limit_is_shared_by_the_sources(tmp_path):
    for source in ("a", "b"):
        write(tmp_path / f"de/{source}.train.txt", "\n\n".join(f"{source}{i:03}" for i in range(100)))
    found = DirectoryCorpus(tmp_path).documents("de", "train", limit_chars=40)
    assert found == [f"{s}{i:03}" for i in range(5) for s in "ab"]


def test_fingerprint_follows_names_sizes_and_ends(tmp_path):
    write(tmp_path / "de/a.txt", "eins")
    before = DirectoryCorpus(tmp_path).fingerprint()
    assert DirectoryCorpus(tmp_path).fingerprint() == before
    write(tmp_path / "de/b.txt", "zwei")
    assert DirectoryCorpus(tmp_path).fingerprint() != before


def test_folders_without_text_are_no_domains(tmp_path):
    write(tmp_path / "de/a.txt", "eins")
    write(tmp_path / "notes/readme.md", "no")
    assert DirectoryCorpus(tmp_path).domains() == ["de"]


def test_an_empty_root_is_refused(tmp_path):
    with pytest.raises(
        RankOneError, match=r"holds no text: expected <domain>/<file>, or files, with a name ending in \.txt"
    ):
        DirectoryCorpus(tmp_path)


def test_open_corpus_takes_a_directory_and_refuses_a_missing_one(tmp_path):
    write(tmp_path / "de/a.txt", "eins")
    write(tmp_path / "de/a.md", "eins")
    assert isinstance(open_corpus(str(tmp_path)), DirectoryCorpus)
    for wrong, said in ((tmp_path / "nowhere", "not there"), (tmp_path / "de/a.md", "not a text file")):
        with pytest.raises(
            RankOneError, match=f"--text '{wrong}' is {said}. Give a directory with one folder"
        ):
            open_corpus(str(wrong))


def test_text_without_folders_is_one_domain_and_that_is_said(tmp_path):
    write(tmp_path / "letters/a.txt", "eins\n\nzwei")
    write(tmp_path / "letters/b.jsonl", jsonl(["drei"]))
    for place, name, documents in (
        ("letters", "letters", ["eins", "zwei", "drei"]),
        ("letters/a.txt", "a", ["eins", "zwei"]),
        ("letters/b.jsonl", "b", ["drei"]),
    ):
        found = open_corpus(str(tmp_path / place))
        assert found.domains() == [name]
        assert sorted(d for s in SPLITS for d in found.documents(name, s)) == sorted(documents)
        assert f"one domain, '{name}'" in found.note
        assert found.fingerprint()


def test_hidden_and_loose_files_beside_domains_are_not_read(tmp_path):
    write(tmp_path / "de/a.txt", "eins")
    write(tmp_path / ".git/a.txt", "nichts")
    write(tmp_path / "de/.a.txt", "nichts")
    assert DirectoryCorpus(tmp_path).domains() == ["de"]
    assert DirectoryCorpus(tmp_path).sources("de") == ["a"]
    assert (DirectoryCorpus(tmp_path).note, DirectoryCorpus(tmp_path).lost) == ("", "")
    write(tmp_path / "notes.txt", "zwei")
    assert DirectoryCorpus(tmp_path).lost == (
        "not read: 1 text beside the domains' folders (notes.txt): put into a domain's folder"
    )


def test_what_is_passed_over_is_said_by_name_and_number(tmp_path, caplog):
    write(tmp_path / "de/a.txt", "eins")
    for name in (
        "de/b.txt.gz",
        "de/c.JSONL.GZ",
        "fr/d.txt.bz2",
        "fr/e.zip",
        "de/README.md",
        "de/old/f.txt",
        "fr/g.parquet",
    ):
        write(tmp_path / name, "nichts")
    with caplog.at_level("INFO", "rankone"):
        found, _ = (open_corpus(str(tmp_path)) for _ in range(2))
    assert found.domains() == ["de"]
    assert found.note == "not read: 1 file that is not text (de/README.md)"
    assert found.lost == (
        "not read: 4 archives (de/b.txt.gz, de/c.JSONL.GZ, fr/d.txt.bz2, …): decompress, or compress with zstd (.zst); "
        "1 table (fr/g.parquet): write its texts as .txt or .jsonl; "
        "1 folder inside a domain's (de/old): move the files up, or name such a folder as the text"
    )
    said = [(r.levelname, r.getMessage()) for r in caplog.records]
    text = f"text '{tmp_path}': "
    assert said == [("INFO", text + found.note), ("WARNING", text + found.lost)]  # once, not at every opening


def test_files_without_a_split_beside_files_with_one_are_said(tmp_path):
    write(tmp_path / "de/a.train.txt", "eins")
    write(tmp_path / "de/b.txt", "zwei")
    write(tmp_path / "en/c.txt", "drei")
    found = DirectoryCorpus(tmp_path)
    assert found.documents("de", "train") == ["eins"]
    assert found.lost == (
        "not read: 1 file without a split in its name where others have one (de/b.txt): "
        "name it as SOURCE.train.txt is named"
    )


def test_a_place_with_nothing_else_is_refused_by_what_it_holds(tmp_path):
    write(tmp_path / "de/a.txt.gz", "eins")
    write(tmp_path / "de/b/c.txt", "eins")
    with pytest.raises(
        RankOneError,
        match=r"It holds 1 archive \(de/a\.txt\.gz\): decompress, or .*1 folder inside a domain's \(de/b\)",
    ):
        open_corpus(str(tmp_path))


def test_json_lines_hold_chats(tmp_path):
    write(tmp_path / "a.jsonl", '{"prompt": "a", "response": "b"}\n{"text": "c"}\n')
    chat, text = read_documents(tmp_path / "a.jsonl")
    assert chat.turns == (("user", "a"), ("assistant", "b"))
    assert text == "c"
    assert not isinstance(text, Chat)


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        (
            "a.jsonl",
            b'{"text": "a"}\n\n{"text":"\\ud83d a"}\n',
            r"line 3: half of a surrogate pair \(\\ud83d at character 1",
        ),
        ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "line 2: no UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n{"text": "b\n', "line 2: not JSON"),
        ("a.jsonl", b"[" * 100_000, "line 1: it nests too deep"),
        ("a.txt", b"a\nb\n\xffc\n", "line 3: .*invalid start byte"),
    ],
)
def test_broken_text_is_named_by_file_and_line(tmp_path, name, data, complaint):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RankOneError, match=f"cannot read text from '.*{name}': {complaint}"):
        list(read_documents(tmp_path / name))


def test_unknown_domain_offers_the_nearest(tmp_path):
    write(tmp_path / "german/a.txt", "eins")
    with pytest.raises(RankOneError, match=r"no text for 'germ'.*it has german\. Nearest: german"):
        DirectoryCorpus(tmp_path).documents("germ", "train")


@pytest.mark.parametrize(
    ("name", "data", "mend"),
    [
        ("latin1.txt", "Straße".encode("latin1"), "Text must be UTF-8"),
        ("cut.jsonl", b'{"text": "a"}\n{"text": ', "Mend the file"),
        ("notext.jsonl", b'{"body": "a"}\n', "Mend the file"),
        ("list.jsonl", b'["a"]\n', "Mend the file"),
        ("number.jsonl", b'{"text": 3}\n', "Mend the file"),
        ("plain.txt.zst", b"this is not zstd", "A .zst must be whole"),
        ("empty.txt.zst", b"", "the file is empty, without even the head"),
    ],
)
def test_unreadable_files_are_named(tmp_path, name, data, mend):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RankOneError, match=rf"cannot read text from '.*{name}'.*{mend}"):
        list(read_documents(tmp_path / name))


def test_fingerprint_sees_another_ending_of_the_same_size(tmp_path):
    write(tmp_path / "de/a.txt", "x" * 200_000 + "a")
    before = DirectoryCorpus(tmp_path).fingerprint()
    (tmp_path / "de/a.txt").write_text("x" * 200_000 + "b")
    assert DirectoryCorpus(tmp_path).fingerprint() != before


def test_windows_line_ends_separate_documents(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"Eins.\r\n\r\nZwei.\r\nZwei.\r\n")
    assert list(read_documents(tmp_path / "a.txt")) == ["Eins.", "Zwei.\nZwei."]
