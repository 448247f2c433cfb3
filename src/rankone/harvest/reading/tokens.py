"""Some vocabulary entries seen from all parts: who fires on them, who fires where they follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rankone.harvest.reading.store import HarvestStore


@dataclass(frozen=True)
class TokenShares:
    """By part that has any weight on the entries, taken together; all arrays have one entry each.

    part: its number. weight: firings on them (inputs) or probability mass they get where it fires (outputs).
    precision: weight / firings. recall: weight / total weight of the entries. pmi: nats.
    """

    part: np.ndarray
    weight: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    pmi: np.ndarray


def token_shares(
    store: HarvestStore, side: Literal["inputs", "outputs"], tokens: Sequence[int]
) -> TokenShares:
    """The named vocabulary entries as one, over all parts; formulas as in store.py."""
    chosen = ", ".join(str(int(t)) for t in tokens) or "NULL"
    weights = store.table(
        f"SELECT part, sum(weight)::DOUBLE AS weight FROM {side} WHERE token IN ({chosen}) "
        "GROUP BY part ORDER BY part"
    )
    whole = store.table(f"SELECT sum({side})::DOUBLE AS whole FROM vocabulary WHERE token IN ({chosen})")[
        "whole"
    ][0].as_py()
    part, weight = weights["part"].to_numpy(), weights["weight"].to_numpy()
    firings = store.firings()[part]
    total = sum(store.tokens().values())
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = weight / firings, weight / max(whole or 0.0, 1e-30)
        pmi = np.log(recall * total / firings)
    return TokenShares(part, weight, precision, recall, pmi)
