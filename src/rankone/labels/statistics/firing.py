"""How well plain counts separate a part's held-out firings from other tokens: a score without a language model.

The predictor is the statistical evidence itself, as a naive Bayes log-odds:

    s(domain, token) = log P(domain | fires) / P(domain)  +  log P(token | fires) / P(token)

with probabilities counted on the harvest, the held-out firings taken out. Firing tokens are the centres of held-out
examples; they are other draws than the counted ones, though from the same documents unless a second harvest gives them.
Other tokens are drawn from the windows of many parts (background.py); as they are not checked for firing, a share of
them equal to the part's density does fire, and both figures are corrected for that.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankone.harvest.reading.page import Example, PartPage
from rankone.metrics.rank_statistics import roc_area

# Added to every count, so that nothing seen is impossible.
_PRIOR = 0.5
# With more of the background firing than this, there are too few other tokens to compare with.
_MOST_FIRING = 0.8
FEWEST = 10


@dataclass(frozen=True)
class Detection:
    """auc: chance that a firing token scores above another; balanced_accuracy: mean of the shares judged right in both
    groups at s > 0, the even-odds decision of the predictor. Chance is 0.5. firing, others: how many were compared.
    """

    auc: float
    balanced_accuracy: float
    firing: int
    others: int


Counts = tuple[float, float]
"""(firings, tokens): of some tokens, on how many it fires, and how many there are."""


class FiringPredictor:
    """Log-odds of firing for a domain and a token, from counts: of all tokens, by domain, and of tokens that are listed."""

    def __init__(
        self, of_all: Counts, by_domain: Mapping[str, Counts], by_token: Mapping[int, Counts]
    ) -> None:
        self._firings, self._tokens = of_all
        self._domains = {domain: self._odds(*counts) for domain, counts in by_domain.items()}
        self._listed = {token: self._odds(*counts) for token, counts in by_token.items()}
        # Tokens that are not listed share what is left.
        rest = self._firings - sum(max(firings, 0.0) for firings, _ in by_token.values())
        self._unlisted = self._odds(rest, self._tokens - sum(tokens for _, tokens in by_token.values()))

    @classmethod
    def of_page(cls, page: PartPage, removed: Sequence[Example] = ()) -> FiringPredictor:
        """From the counts of one page, the firings of `removed` taken out."""
        tokens = Counter(example.ids[example.centre] for example in removed)
        domains = Counter(example.domain for example in removed)
        # Taken out of firings and of occurrences alike: a token on which it always fires keeps its rate.
        by_domain = {
            row.domain: (row.firings - domains[row.domain], row.tokens - domains[row.domain])
            for row in page.domains
            if row.tokens
        }
        # How often a listed token occurs in all text follows from its recall.
        by_token = {
            row.token_id: (row.weight - tokens[row.token_id], row.weight / row.recall - tokens[row.token_id])
            for row in page.input_tokens
            if row.recall > 0
        }
        of_all = (max(page.firings - len(removed), 0), max(page.tokens - len(removed), 1))
        return cls(of_all, by_domain, by_token)

    def _odds(self, firings: float, tokens: float) -> float:
        """log of (firing rate on these tokens) / (firing rate on all); 0 without evidence, by the prior."""
        rate = (self._firings + _PRIOR) / (self._tokens + 2 * _PRIOR)
        there = (max(firings, 0.0) + 2 * _PRIOR * rate) / (max(tokens, 0.0) + 2 * _PRIOR)
        return math.log(there / rate)

    def odds(self, domain: str, token: int) -> float:
        """s of a token in a domain; an unseen domain adds nothing."""
        return self._domains.get(domain, 0.0) + self._listed.get(token, self._unlisted)

    def score(self, at: Example) -> float:
        """s at the centre of a window."""
        return self.odds(at.domain, at.ids[at.centre])


def detection(
    predictor: FiringPredictor,
    page: PartPage,
    held_out: Sequence[Example],
    background: Sequence[Example],
) -> Detection | None:
    """Score one part on the centres of `held_out` (it fires there) and of `background` (not checked).

    `page` is of the harvest that these windows come from. None with fewer than FEWEST windows in a group, or when it fires
    on more than four fifths of the background.

    With a share π of the background firing, AUC and the background's share judged right are mixtures: auc' = (1−π) auc + π/2
    and right' = (1−π) right + π (1 − hit). They are solved for auc and right. π is the page's density per domain, averaged
    over the background.
    """
    densities = {row.domain: row.density for row in page.domains}
    known = [example for example in background if example.domain in densities]
    if len(held_out) < FEWEST or len(known) < FEWEST:
        return None
    mixed = sum(densities[example.domain] for example in known) / len(known)
    if mixed > _MOST_FIRING:
        return None
    firing = [predictor.score(example) for example in held_out]
    others = [predictor.score(example) for example in known]
    hit = sum(s > 0 for s in firing) / len(firing)
    right = sum(s <= 0 for s in others) / len(others)
    auc = _unmixed(roc_area(firing, others), mixed, 0.5)
    right = _unmixed(right, mixed, 1 - hit)
    return Detection(auc, (hit + right) / 2, len(firing), len(others))


def _unmixed(seen: float, share: float, mixed_in: float) -> float:
    return min(1.0, max(0.0, (seen - share * mixed_in) / (1 - share)))
