"""Some vocabulary entries seen from all subcomponents: who fires on them, who fires where they follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rankone.harvest.reading.store import HarvestStore


@dataclass(frozen=True)
class TokenShares:
    """By subcomponent that has any weight on the entries, taken together; all arrays have one entry each.

    component: its number. weight: firings on them (inputs) or probability mass they get where it fires (outputs).
    precision: weight / firings. recall: weight / total weight of the entries. pmi: nats.
    """

    component: np.ndarray
    weight: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    pmi: np.ndarray


def token_shares(
    store: HarvestStore, side: Literal["inputs", "outputs"], tokens: Sequence[int]
) -> TokenShares:
    """The named vocabulary entries as one, over all subcomponents; formulas as in store.py."""
    chosen = ", ".join(str(int(t)) for t in tokens) or "NULL"
    found = store.table(
        f"SELECT component, sum(weight)::DOUBLE AS weight FROM {side} WHERE token IN ({chosen}) "
        "GROUP BY component ORDER BY component"
    )
    whole = store.table(f"SELECT sum({side})::DOUBLE AS whole FROM vocabulary WHERE token IN ({chosen})")[
        "whole"
    ][0].as_py()
    component, weight = found["component"].to_numpy(), found["weight"].to_numpy()
    firings = store.firings()[component]
    total = sum(store.tokens().values())
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = weight / firings, weight / max(whole or 0.0, 1e-30)
        pmi = np.log(recall * total / firings)
    return TokenShares(component, weight, precision, recall, pmi)
