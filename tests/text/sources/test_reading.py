"""Text files of strangers: whole or refused by name, in bounded memory."""

from __future__ import annotations

import json
import os
import tracemalloc

import pytest
import zstandard

from rankone.core.errors import RankOneError
from rankone.text.sources import reading
from rankone.text.sources.directory import DirectoryCorpus
from rankone.text.sources.reading import read_documents

TEXT = "\n\n".join(f"Satz {i} " + "wort " * 30 for i in range(200))


def packed(text, frames=1):
    size = len(text) // frames + 1
    parts = [text[i : i + size].encode() for i in range(0, len(text), size)]
    return b"".join(zstandard.ZstdCompressor().compress(part) for part in parts)


@pytest.mark.parametrize("frames", [1, 3])
def test_frames_are_read_to_their_end(tmp_path, frames):
    path = tmp_path / "a.txt.zst"
    path.write_bytes(packed(TEXT, frames))
    assert list(read_documents(path)) == TEXT.split("\n\n")


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("lost", [1, 40])
@pytest.mark.parametrize("suffix", ["txt", "jsonl"])
def test_an_unfinished_frame_is_refused(tmp_path, frames, lost, suffix):
    path = tmp_path / f"a.{suffix}.zst"
    text = TEXT if suffix == "txt" else "".join(json.dumps({"text": t}) + "\n" for t in TEXT.split("\n\n"))
    path.write_bytes(packed(text, frames)[:-lost])
    with pytest.raises(
        RankOneError, match=r"cannot read text from '.*a\..*zst': .*(middle of a zstd frame|not JSON)"
    ):
        list(read_documents(path))


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfeins\n\nzwei")
    assert list(read_documents(tmp_path / "a.txt")) == ["eins", "zwei"]
    (tmp_path / "a.txt.zst").write_bytes(packed("\ufeffeins"))
    assert list(read_documents(tmp_path / "a.txt.zst")) == ["eins"]


def test_lines_of_white_space_part_documents(tmp_path):
    (tmp_path / "a.txt").write_text("eins\n \nzwei\n\t\n  \n\ndrei\nvier\r\n\r\nfünf\n", "utf8", newline="")
    assert list(read_documents(tmp_path / "a.txt")) == ["eins", "zwei", "drei\nvier", "fünf"]


def test_a_separator_may_lie_across_two_reads(tmp_path, monkeypatch):
    text = "eins\n \t \nzwei\n\ndrei\n  \n \nvier"
    (tmp_path / "a.txt").write_text(text, "utf8")
    for at_once in range(1, 12):
        monkeypatch.setattr(reading, "_CHARS_AT_ONCE", at_once)
        assert list(read_documents(tmp_path / "a.txt")) == ["eins", "zwei", "drei", "vier"], at_once


def test_endless_documents_are_cut_at_line_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST_DOCUMENT", 10)
    monkeypatch.setattr(reading, "_CHARS_AT_ONCE", 8)
    (tmp_path / "a.txt").write_text("aaaa\nbbbb\ncccc\n" + "d" * 25, "utf8")
    found = list(read_documents(tmp_path / "a.txt"))
    assert found == ["aaaa\nbbbb", "cccc", "d" * 10, "d" * 10, "d" * 5]


def test_long_lines_of_json_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST_LINE", 40)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "' + "a" * 40 + '"}\n', "utf8")
    with pytest.raises(RankOneError, match="line 2 has over"):
        list(read_documents(tmp_path / "a.jsonl"))


def test_a_bomb_is_refused_in_little_memory(tmp_path):
    path = tmp_path / "a.txt.zst"
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    piece = (b"a" * 99 + b"\n") * 20_000
    with path.open("wb") as out:
        for _ in range(100):
            out.write(packer.compress(piece))
        out.write(packer.flush())
    tracemalloc.start()
    with pytest.raises(RankOneError, match="expands to over 200 times its size"):
        list(read_documents(path))
    assert tracemalloc.get_traced_memory()[1] < 1 << 29
    tracemalloc.stop()


def test_nul_bytes_are_no_text(tmp_path):
    path = tmp_path / "a.txt"
    with path.open("wb") as out:
        out.truncate(1 << 40)  # a sparse file of a terabyte
    with pytest.raises(RankOneError, match="NUL bytes"):
        list(read_documents(path))


@pytest.mark.parametrize("kind", ["fifo", "device", "kernel", "broken link"])
def test_what_is_no_file_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "de" / "a.txt"
    path.parent.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    else:
        # /proc/kmsg says that it is a regular file, and reading it waits for the kernel.
        path.symlink_to({"device": "/dev/zero", "kernel": "/proc/version"}.get(kind, tmp_path / "nothing"))
    with pytest.raises(RankOneError, match=r"a\.txt' is not a regular file|cannot read text from '.*a\.txt'"):
        DirectoryCorpus(tmp_path)
    with pytest.raises(RankOneError, match=r"a\.txt"):
        list(read_documents(path))


def test_endless_empty_lines_of_json_are_refused(tmp_path):
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(zstandard.compress(b'{"text": "a"}\n' + b"\n" * (1 << 25)))
    with pytest.raises(RankOneError, match="line 100002 is the 100,001th empty one in a row: no text"):
        list(read_documents(path))
    path.write_bytes(zstandard.compress(b'{"text": "a"}' + b"\n" * 100_000 + b'{"text": "b"}'))
    assert list(read_documents(path)) == ["a", "b"]
