"""Which domains the words of a label name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rankone.text.domains import domain_name

# "German words in all text but English" is not about English, "suffixes, most in German" is not about German alone, and what
# follows the dot is about what comes next.
_END = re.compile(r" · | but | except | other than |, most in ", re.IGNORECASE)
# A kind of token, not the domain `code`.
_KINDS = re.compile(r"\bcode symbols?\b", re.IGNORECASE)


def domains_named(label: str, domains: Sequence[str]) -> list[str]:
    """The domains that a label says its part fires on, in the order of `domains`."""
    head = _KINDS.sub("symbols", _END.split(label, maxsplit=1)[0]).casefold()
    return [d for d in domains if re.search(rf"\b{re.escape(domain_name(d).casefold())}\b", head)]


def names_only(label: str, domain: str, domains: Sequence[str]) -> bool:
    """Whether a label names this domain and none of the other `domains`."""
    return domains_named(label, domains) == [domain]
