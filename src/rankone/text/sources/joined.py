"""Several texts as one: the domains of each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from rankone.core.errors import RankOneError
from rankone.text.corpus import Corpus, require_domain


class JoinedCorpus:
    """The domains of several corpora, in their order; RankOneError, when they are read, where two share a name."""

    def __init__(self, corpora: Sequence[Corpus]) -> None:
        self.corpora = tuple(corpora)
        self.name = ",".join(Path(corpus.name).name for corpus in corpora)

    @cached_property
    def _of(self) -> dict[str, Corpus]:
        """Domain → its corpus; asked for when text is, since a data set on the Hub is looked up."""
        of: dict[str, Corpus] = {}
        for corpus in self.corpora:
            for domain in corpus.domains():
                if domain in of:
                    raise RankOneError(
                        f"'{of[domain].name}' and '{corpus.name}' both have text for '{domain}': rename the folder "
                        "of one, or leave one of them out."
                    )
                of[domain] = corpus
        return of

    def domains(self) -> list[str]:
        """Those of the first corpus, then those of the next."""
        return list(self._of)

    def documents(self, domain: str, split: str, limit_chars: int | None = None) -> list[str]:
        """Documents of one split, about `limit_chars` characters, of the corpus that has the domain."""
        return self.holding(domain).documents(domain, split, limit_chars)

    def sources(self, domain: str) -> list[str]:
        """Names of the files of a domain, where its corpus has such."""
        listed = getattr(self.holding(domain), "sources", None)
        return [] if listed is None else listed(domain)

    def holding(self, domain: str) -> Corpus:
        """The corpus that has the domain."""
        require_domain(self, domain)
        return self._of[domain]

    def fingerprint(self) -> str:
        """A hash over those of its corpora."""
        return hashlib.sha256("\n".join(corpus.fingerprint() for corpus in self.corpora).encode()).hexdigest()


def holding(corpus: Corpus, domain: str) -> Corpus:
    """The corpus itself, or of several joined ones that which has the domain."""
    return corpus.holding(domain) if isinstance(corpus, JoinedCorpus) else corpus
