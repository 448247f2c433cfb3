"""How far to trust a graph, in a sentence or two: what is exact, what it leaves out, whether what it predicts happens."""

from __future__ import annotations

from rankone.circuits.records import Agreement, GraphRecord, MaskedRow, Rule, Verification
from rankone.render.values import formatted

UNVERIFIED = "Not verified: nothing of it was checked. `rankone graph verify` does."
# Fewer points than this lie on a line, or nearly, whatever they are.
LEAST = 4


def trust(record: GraphRecord, verification: Verification | None, rule: Rule) -> str:
    """One line."""
    if verification is None:
        return UNVERIFIED
    said = ["Exact where it should be" if verification.exact else "NOT exact where it should be"]
    said[0] += f" (sums off by {verification.identity_worst:.0e} of what flows in)"
    said.append(
        f"traced back by the frozen rule, {record.scores.replacement:.0%} of the influence ends at tokens, the rest at "
        "what is not explained"
    )
    best = max((a for a in verification.agreement if a.rule == rule), key=lambda a: a.effect == "full")
    said.append(_agreed(best))
    masks = {row.masks: row for row in record.masked if not row.random}
    if masks:
        said.append(_alone(record, masks))
    return "; ".join(said) + "."


def _agreed(best: Agreement) -> str:
    if best.nodes < LEAST:
        return f"too few nodes ({best.nodes}) were taken out to say whether what it predicts happens"
    return (
        f"of {best.nodes} nodes taken out one at a time, predicted and measured go together with r = "
        f"{formatted(best.pearson, '.2f')} ({best.rule}, the model running on)"
    )


def _alone(record: GraphRecord, masks: dict[str, MaskedRow]) -> str:
    random = [row for row in record.masked if row.random]
    if record.probability is None:
        ones = [f"KL {formatted(masks[m].kl, '.2f')} ({m})" for m in ("stochastic", "adversarial")]
        return "with its nodes alone " + ", ".join(ones)
    ones = [
        f"{formatted(masks[m].probability, '.3f')} ({m})" for m in ("importance", "stochastic", "adversarial")
    ]
    beside = f", random graphs {formatted(random[0].probability, '.3f')}" if random else ""
    return f"p({record.outputs[0].text}) is {record.probability:.3f}, with its nodes alone {', '.join(ones)}{beside}"
