"""A corpus in a local directory: one folder per domain, plain text or JSON lines, zstd-compressed or not."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import zstandard

from rankone.core.errors import RankOneError
from rankone.text.corpus import hashed_split, require_domain, require_split
from rankone.text.sources.layout import text_layout, undecodable_line
from rankone.text.sources.records import read_record

_END_BYTES = 1 << 16
SPLIT_MARKS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


class DirectoryCorpus:
    """Files `<root>/<domain>/<source>[.<split>].(txt|jsonl)[.zst]`; without folders one domain (sources/layout.py).

    Documents of a .txt file are separated by blank lines, or by form feeds where the file has any; a .jsonl line is an
    object with a text, a conversation or a pair (sources/records.py). Where no file of a domain carries a split in its name,
    documents are dealt to train/validation/test 80:10:10 by a hash of their text. note: how the place was read, or ''.
    """

    def __init__(self, root: Path) -> None:
        self.root = root if root.is_dir() else root.parent
        self.name = str(root)
        self._files, self.note = text_layout(root)

    def domains(self) -> list[str]:
        """Folder names that hold text."""
        return list(self._files)

    def sources(self, domain: str) -> list[str]:
        """Source names (file names before the first dot) of a domain."""
        require_domain(self, domain)
        return sorted({_source(p) for p in self._files[domain]})

    def documents(self, domain: str, split: str, limit_chars: int | None = None) -> list[str]:
        """Documents of one split, about `limit_chars` characters, equally from the domain's sources."""
        sources = self.sources(domain)
        share = None if limit_chars is None else max(limit_chars // len(sources), 1)
        return [doc for source in sources for doc in self.source_documents(domain, source, split, share)]

    def source_documents(
        self, domain: str, source: str, split: str, limit_chars: int | None = None
    ) -> list[str]:
        """Documents of one source of a domain in one split."""
        require_domain(self, domain)
        require_split(split)
        marked = any(_split(p) for p in self._files[domain])
        documents: list[str] = []
        taken = 0
        for path in self._files[domain]:
            if _source(path) != source or (marked and _split(path) != split):
                continue
            for document in read_documents(path):
                if not marked and hashed_split(document) != split:
                    continue
                documents.append(document)
                taken += len(document)
                if limit_chars is not None and taken >= limit_chars:
                    return documents
        return documents

    def fingerprint(self) -> str:
        """Hash over names, sizes and both ends of the files: corpora are too large to be read whole at every start."""
        listing = [
            (p.relative_to(self.root).as_posix(), p.stat().st_size, *_ends(p))
            for own in self._files.values()
            for p in own
        ]
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _ends(path: Path) -> tuple[str, str]:
    """Hashes of the first and the last 64 KiB."""
    with path.open("rb") as stream:
        first = stream.read(_END_BYTES)
        stream.seek(max(0, path.stat().st_size - _END_BYTES))
        return hashlib.sha256(first).hexdigest(), hashlib.sha256(stream.read()).hexdigest()


def read_documents(path: Path) -> Iterator[str]:
    """Yield the documents of one text or JSON-lines file, streamed."""
    try:
        with path.open("rb") as raw:
            binary = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
            if ".jsonl" in path.suffixes:
                yield from _records(io.BufferedReader(binary))  # pyright: ignore[reportArgumentType]
            else:
                yield from _plain_documents(io.TextIOWrapper(binary, encoding="utf8"))
    except (ValueError, zstandard.ZstdError) as error:
        place = undecodable_line(path) if isinstance(error, UnicodeDecodeError) else ""
        raise RankOneError(
            f"cannot read text from '{path}': {place}{error}. Text must be UTF-8, and in .zst whole."
        ) from error


def _records(stream: io.BufferedReader) -> Iterator[str]:
    for number, line in enumerate(stream, start=1):
        if line.strip():
            try:
                yield read_record(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error


def _plain_documents(stream: io.TextIOWrapper) -> Iterator[str]:
    """Split at form feeds from the first one on, at blank lines before (code keeps its blank lines)."""
    head = stream.read(1 << 20)
    if "\f" in head:
        yield from _split_stream(head, stream, "\f")
    else:
        yield from _split_stream(head, stream, "\n\n")


def _split_stream(buffer: str, stream: io.TextIOWrapper, mark: str) -> Iterator[str]:
    while buffer:
        *whole, buffer = buffer.split(mark)
        yield from (d.strip("\n") for d in whole if d.strip())
        more = stream.read(1 << 20)
        if not more:
            break
        buffer += more
    if buffer.strip():
        yield buffer.strip("\n")


def _source(path: Path) -> str:
    return path.name.split(".")[0]


def _split(path: Path) -> str | None:
    marks = [SPLIT_MARKS[part] for part in path.name.split(".")[1:] if part in SPLIT_MARKS]
    return marks[0] if marks else None
