"""A corpus in a local directory: one folder per domain, plain text or JSON lines, zstd-compressed or not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rankone.core.errors import RankOneError
from rankone.text.corpus import hashed_split, require_domain, require_split
from rankone.text.evenly import evenly
from rankone.text.sources.layout import split_of, text_layout
from rankone.text.sources.reading import read_documents, require_file, require_text_inside

_END_BYTES = 1 << 16


class DirectoryCorpus:
    """Files `<root>/<domain>/<source>[.<split>].(txt|jsonl)[.zst]`; without folders one domain (sources/layout.py).

    Documents of a .txt file are separated by blank lines (white space alone is blank), or by form feeds where the file has
    any; a .jsonl line is an object with a text, a conversation or a pair (sources/records.py). Where no file of a domain
    carries a split in its name, documents are dealt to train/validation/test 80:10:10 by a hash of their text. note: how the
    place was read, or ''; lost: text there that is not read, with the mend, or ''.
    """

    def __init__(self, root: Path) -> None:
        self.root = root if root.is_dir() else root.parent
        self.name = str(root)
        self._files, self.note, self.lost = text_layout(root)
        self._sources = {domain: _by_source(paths) for domain, paths in self._files.items()}
        # Domains in which names carry splits.
        self._marked = {d for d, paths in self._files.items() if any(split_of(p) for p in paths)}
        files = [p for paths in self._files.values() for p in paths]
        for path in files:
            require_file(path)
            require_text_inside(path)
        if not any(path.stat().st_size for path in files):
            raise RankOneError(
                f"'{root}' holds no text: '{files[0].name}' and every other file of it is empty."
            )

    def domains(self) -> list[str]:
        """Folder names that hold text."""
        return list(self._files)

    def sources(self, domain: str) -> list[str]:
        """Source names (file names before the first dot) of a domain."""
        require_domain(self, domain)
        return sorted(self._sources[domain])

    def documents(self, domain: str, split: str, limit_chars: int | None = None) -> list[str]:
        """Documents of one split, about `limit_chars` characters, the domain's sources in turns (evenly.py)."""
        each = [self._stream(domain, source, split) for source in self.sources(domain)]
        return list(evenly(each, limit_chars))

    def source_documents(
        self, domain: str, source: str, split: str, limit_chars: int | None = None
    ) -> list[str]:
        """Documents of one source of a domain in one split, about `limit_chars` characters."""
        return list(evenly([self._stream(domain, source, split)], limit_chars))

    def _stream(self, domain: str, source: str, split: str) -> Iterator[str]:
        require_domain(self, domain)
        require_split(split)
        marked = domain in self._marked
        for path in self._sources[domain].get(source, ()):
            if not marked or split_of(path) == split:
                yield from (d for d in read_documents(path) if marked or hashed_split(d) == split)

    def fingerprint(self) -> str:
        """Hash over names, sizes and both ends of the files: corpora are too large to be read whole at every start."""
        listing = [
            (p.relative_to(self.root).as_posix(), p.stat().st_size, *_ends(p))
            for paths in self._files.values()
            for p in paths
        ]
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def _ends(path: Path) -> tuple[str, str]:
    """Hashes of the first and the last 64 KiB."""
    with path.open("rb") as stream:
        first = stream.read(_END_BYTES)
        stream.seek(max(0, path.stat().st_size - _END_BYTES))
        return hashlib.sha256(first).hexdigest(), hashlib.sha256(stream.read()).hexdigest()


def _by_source(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """The files of each source, by the name before the first dot."""
    sources: dict[str, list[Path]] = {}
    for path in paths:
        sources.setdefault(path.name.split(".")[0], []).append(path)
    return sources
