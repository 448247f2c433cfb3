"""What a subcomponent reads in each domain: the tokens it fires on there, beside how common they are there."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rankone.harvest.reading.page import PartPage

# A token seen once among the stored firings says little.
LEAST_COUNT = 2


@dataclass(frozen=True)
class Read:
    """A token among the stored firings of one domain: count, share of them, and PMI (nats) against the domain's own text."""

    token: str
    count: int
    share: float
    pmi: float


def reads(page: PartPage, counts: Mapping[str, np.ndarray], top: int) -> dict[str, list[Read]]:
    """By domain, the tokens with the largest share · PMI among the firings that the harvest has stored as examples.

    PMI = log((n / firings stored) / (occurrences / tokens)), all within the domain; counts: `HarvestStore.token_counts`.
    """
    fired: dict[str, Counter[int]] = {domain: Counter() for domain in counts}
    texts: dict[int, str] = {}
    for example in page.examples:
        token = example.ids[example.centre]
        fired[example.domain][token] += 1
        texts[token] = example.tokens[example.centre]
    return {domain: _best(fired[domain], texts, counts[domain], top) for domain in counts}


def _best(fired: Counter[int], texts: Mapping[int, str], counts: np.ndarray, top: int) -> list[Read]:
    total, tokens = sum(fired.values()), int(counts.sum())
    rows = [
        Read(texts[token], n, n / total, math.log(n * tokens / (total * int(counts[token]))))
        for token, n in fired.items()
        if n >= LEAST_COUNT
    ]
    kept = [read for read in rows if read.pmi > 0]
    return sorted(kept, key=lambda r: (-r.share * r.pmi, r.token))[:top]
