"""In which domains a part fires: one, several, all but some, or everywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rankone.harvest.reading.page import DomainRow
from rankone.metrics.wilson import effective_draws, wilson_lower
from rankone.text.domains import domain_list, domain_name

# A domain counts as named when the density there is at least this share of the largest density.
NAMED_FROM = 0.5
# With a smaller share of the firings the named domains are only those in which it fires most.
_MOSTLY = 0.6
_MOST_LISTED = 4
_MOST_LEFT_OUT = 2


@dataclass(frozen=True)
class Where:
    """The domains a label names.

    adjective goes before a noun (`German and Dutch`), tail after it (` in all text but English`, `, most in German`); one of
    them is empty.
    share: the part of the firings, every domain weighted to the same number of tokens, that falls on `domains`.
    confidence: lower end of the 95 % Wilson interval of that share, at Kish's effective number of firings; for `everywhere`
    the normalised entropy of the shares times that bound for a share of 1. 1 where only one domain was harvested:
    nothing is claimed then.
    """

    domains: tuple[str, ...]
    adjective: str
    tail: str
    share: float
    confidence: float

    @property
    def single(self) -> bool:
        """Whether one domain out of several is named."""
        return len(self.domains) == 1 and bool(self.adjective)


def where(rows: Sequence[DomainRow]) -> Where:
    """Read the domains of one part; domains without tokens are left out."""
    rows = [row for row in rows if row.tokens > 0]
    total = sum(row.firings / row.tokens for row in rows)
    if len(rows) < 2 or total == 0:
        return Where(tuple(r.domain for r in rows), "", "", 1.0, 1.0)
    ranked = sorted(rows, key=lambda r: (-r.firings / r.tokens, r.domain))
    shares = {r.domain: r.firings / r.tokens / total for r in ranked}
    draws = effective_draws([1 / r.tokens for r in rows], [r.firings for r in rows])
    top = next(iter(shares.values()))
    named = tuple(d for d, s in shares.items() if s >= NAMED_FROM * top)
    if len(named) == len(shares):
        even = -sum(s * math.log(s) for s in shares.values()) / math.log(len(shares))
        return Where(named, "", " everywhere", 1.0, even * wilson_lower(1.0, draws))
    share = min(1.0, sum(shares[d] for d in named))
    adjective, tail = _words(named, [d for d in shares if d not in named])
    if adjective and share < _MOSTLY:
        adjective, tail = "", f", most in {adjective}"
    return Where(named, adjective, tail, share, wilson_lower(share, draws))


def _words(named: Sequence[str], others: Sequence[str]) -> tuple[str, str]:
    if len(named) > 2 and len(others) < len(named) and len(others) <= _MOST_LEFT_OUT:
        return "", f" in all text but {domain_list(sorted(others))}"
    if len(named) <= _MOST_LISTED:
        return domain_list(named), ""
    return "", f" in {len(named)} of {len(named) + len(others)} domains, most in {domain_name(named[0])}"
