"""Text by domain and split: the one interface that every source of text answers to."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

from pydantic import Field, JsonValue

from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.text.domains import is_called

Split = Literal["train", "validation", "test"]
HeldOut = Literal["validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
# More characters than any of our languages needs per token, so that a draw of text is never too short.
CHARS_PER_TOKEN = 5.0
# Fewer than most need in the vocabularies of large models: what a request may cost is not told too low.
LEAST_CHARS_PER_TOKEN = 3.0


@runtime_checkable
class Corpus(Protocol):
    """Documents labelled with a domain (a language tag, `code`, …) in three disjoint splits."""

    name: str

    def domains(self) -> list[str]:
        """Names of the domains it has text for."""
        ...

    def documents(self, domain: str, split: str, limit_chars: int | None = None) -> list[str]:
        """Documents of one domain and split, about `limit_chars` characters at most."""
        ...

    def fingerprint(self) -> str:
        """A hash that changes when the text does, for provenance."""
        ...


def enough_chars(tokens: int) -> int:
    """Characters to read for so many tokens: twice what languages need, as text may be all numbers or white space."""
    return int(2 * CHARS_PER_TOKEN * tokens)


class TextRecord(Config):
    """A corpus by name and fingerprint. sources: of each domain that has several."""

    name: str
    fingerprint: str
    sources: dict[str, tuple[str, ...]] = Field(default_factory=dict)


def described(corpus: Corpus) -> dict[str, JsonValue]:
    """What provenance says of a text: name, fingerprint, and the sources of domains that have several (read in turns)."""
    about: dict[str, JsonValue] = {"name": Path(corpus.name).name, "fingerprint": corpus.fingerprint()}
    listed = getattr(corpus, "sources", None)
    sources = {d: listed(d) for d in corpus.domains()} if listed is not None else {}
    several: dict[str, JsonValue] = {d: list(names) for d, names in sources.items() if len(names) > 1}
    if several:
        about["sources"] = several
    return about


def require_domain(corpus: Corpus, domain: str) -> None:
    """Raise if the corpus has no such domain; the error offers the nearest."""
    known = corpus.domains()
    if domain not in known:
        raise RankOneError(
            f"no text for '{domain}' in corpus '{corpus.name}'; it has {', '.join(known)}."
            f"{_meant(domain, known)}"
        )


def _meant(domain: str, known: list[str]) -> str:
    """The domain that is called so (`german`), else the nearest."""
    called = [tag for tag in known if is_called(tag, domain)]
    return f" '{domain}' is {called[0]}." if called else nearest(domain, known)


def require_split(split: str) -> None:
    """Raise if `split` is not one of train, validation, test."""
    if split not in SPLITS:
        raise RankOneError(f"unknown split '{split}'; choose one of {', '.join(SPLITS)}.")


def hashed_split(document: str) -> str:
    """Deal a document to train, validation or test, 80:10:10, by a hash of its text."""
    bucket = hashlib.sha256(document.encode()).digest()[0] % 10
    return SPLITS[0] if bucket < 8 else SPLITS[bucket - 7]
