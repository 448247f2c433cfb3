"""The card of an export: what it is, how it was verified, and what its user must know."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.core.escaping import html_text
from rankone.edits.verification import Verification

_FIGURES = {
    "file_difference": "largest difference of a logit from the edited model in this dtype",
    "difference": "largest difference of a logit from the edited model",
    "kl": "KL(edited ‖ export), nats per token",
    "edit_kl": "KL(edited ‖ base), nats per token: what the edit does on the same probe",
    "realised": "share of the edit's change of the logits that the export makes",
}


def card(verification: Verification, description: str, method: str, sites: Sequence[str]) -> str:
    """Markdown."""
    v = verification
    what = (
        "A LoRA adapter in PEFT's format"
        if v.kind == "adapter"
        else "A checkpoint with an edit in its weights"
    )
    lines = [
        f"# {html_text(description or 'An edit')}",
        "",
        f"{what}, exported by RankOne ({html_text(method or 'no method named')}; {len(sites)} sites, {v.dtype}).",
        *(f"\n**{warning[0].upper()}{warning[1:]}**" for warning in v.warnings),
        "",
        f"Read by {v.engine} and compared with the edited model on {v.tokens} positions of random tokens:",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {said} | {getattr(v, key):.3g} |" for key, said in _FIGURES.items()),
        "",
        *([v.vllm.said, ""] if v.vllm is not None else []),
    ]
    return "\n".join(lines)
