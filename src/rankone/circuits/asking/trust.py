"""How far to trust a graph, in a line: what is exact, how much is explained, whether what it predicts happens."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.circuits.records import Agreement, GraphRecord, MaskedRow, Rule, Verification
from rankone.render.values import formatted

UNVERIFIED = "Not verified: nothing of it was checked. `rankone graph verify` does."
# The masks of what is not a node that a graph is judged by.
_ALONE = ("importance", "stochastic", "adversarial")
# Fewer points than this lie on a line, or nearly, whatever they are.
LEAST = 4


def trust(record: GraphRecord, verification: Verification | None, rule: Rule) -> str:
    """One line."""
    if verification is None:
        return UNVERIFIED
    exact = "Exact" if verification.exact else "NOT exact"
    best = max((a for a in verification.agreement if a.rule == rule), key=lambda a: a.effect == "full")
    said = [
        f"{exact} where it should be (sums to {verification.identity_worst:.0e})",
        f"{record.scores.replacement:.0%} of the influence ends at tokens (frozen)",
        _agreed(best),
    ]
    masks = [row for row in record.masked if not row.random and row.masks in _ALONE]
    if masks:
        said.append(_alone(record, masks))
    return "; ".join(said) + "."


def _agreed(best: Agreement) -> str:
    if best.nodes < LEAST:
        return f"too few nodes ({best.nodes}) were taken out to compare with what it predicts"
    return f"predicted and measured r = {formatted(best.pearson, '.2f')} ({best.rule}, {best.nodes} nodes)"


def _alone(record: GraphRecord, masks: Sequence[MaskedRow]) -> str:
    if record.probability is None:
        return f"its nodes alone KL {_span([row.kl for row in masks], '.2f')}"
    beside = [row.probability for row in record.masked if row.random]
    alone = _span([row.probability for row in masks], ".3f")
    random = f", random {formatted(beside[0], '.3f')}" if beside else ""
    return f"p({record.outputs[0].text}) {record.probability:.3f}, its nodes alone {alone}{random}"


def _span(values: Sequence[float | None], form: str) -> str:
    """The least and the largest of what is known."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    return " to ".join(dict.fromkeys(formatted(end, form) for end in (min(known), max(known))))
