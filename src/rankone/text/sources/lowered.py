"""A text in lower case: what hangs on capitals is told from what hangs on words."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rankone.text.chats import Chat, Turn
from rankone.text.corpus import Corpus, require_domain
from rankone.text.domains import LOWER, written_in


class LoweredCorpus:
    """The documents of another corpus without their capitals; its domain `de` is called `de-lower` here."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus
        self.name = f"lower:{Path(corpus.name).name}"

    def domains(self) -> list[str]:
        """Those of the other corpus, in its order."""
        return [domain + LOWER for domain in self.corpus.domains()]

    def documents(self, domain: str, split: str, limit_chars: int | None = None) -> list[str]:
        """Documents of one split, about `limit_chars` characters: those that the other corpus gives."""
        require_domain(self, domain)
        written = self.corpus.documents(written_in(domain), split, limit_chars)
        return [_lowered(document) for document in written]

    def sources(self, domain: str) -> list[str]:
        """Names of the files of a domain, where the other corpus has such."""
        require_domain(self, domain)
        listed = getattr(self.corpus, "sources", None)
        return [] if listed is None else listed(written_in(domain))

    def fingerprint(self) -> str:
        """A hash over that of the other corpus."""
        return hashlib.sha256(f"lower\n{self.corpus.fingerprint()}".encode()).hexdigest()


def _lowered(document: str) -> str:
    if isinstance(document, Chat):
        return Chat([Turn(turn.role, turn.content.lower()) for turn in document.turns])
    return document.lower()
