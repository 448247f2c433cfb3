"""The corpus inside the package: passages in seven languages and some Python, written for RankOne."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.resources import files

from rankone.text.corpus import require_domain, require_split
from rankone.text.evenly import evenly

LANGUAGES = ("de", "en", "fr", "es", "it", "nl", "sv")
PASSAGES, CODE = "passages.jsonl", "code.jsonl"


class BuiltinCorpus:
    """336 passages, each in seven languages, and 110 Python snippets; needs no network.

    A passage is in the same split in every language, so no language's test text is the translation of
    another's training text. The seven parts (three of parliamentary debate, daily life, stories, local news,
    essays) take turns, so any prefix holds text of each.
    """

    name = "builtin"

    def domains(self) -> list[str]:
        """The seven language tags, and `code`."""
        return [*LANGUAGES, "code"]

    def documents(self, domain: str, split: str, limit_chars: int | None = None) -> list[str]:
        """Passages or snippets of one split, in a fixed order, up to about `limit_chars` characters."""
        require_domain(self, domain)
        require_split(split)
        rows = _rows(CODE if domain == "code" else PASSAGES)
        return list(evenly([(row[domain] for row in rows if row["split"] == split)], limit_chars))

    def fingerprint(self) -> str:
        """SHA-256 over the two data files."""
        return hashlib.sha256(_data(PASSAGES) + _data(CODE)).hexdigest()


def _data(name: str) -> bytes:
    return files("rankone.text").joinpath("data", name).read_bytes()


@cache
def _rows(name: str) -> tuple[dict[str, str], ...]:
    return tuple(json.loads(line) for line in _data(name).decode("utf8").splitlines())
