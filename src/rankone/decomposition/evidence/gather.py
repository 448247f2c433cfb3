"""The whole evidence of a decomposition on some text.

Nothing here is optimised by training except through its own losses; CI-as-mask and rounded masks are monitored only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from rankone.decomposition.evidence.attack import adversarial_rows, adversary_used
from rankone.decomposition.evidence.attribution import (
    ATTACK_STEPS,
    adversary_by_group,
    attacks,
    hidden_errors,
    masked_alone,
)
from rankone.decomposition.evidence.groups import groups
from rankone.decomposition.evidence.maskings import masking_rows, with_unrecovered
from rankone.decomposition.evidence.privileged_basis import privileged_basis
from rankone.decomposition.evidence.records import Evidence, Measured, SubcomponentRow, TextUsed
from rankone.decomposition.evidence.sparsity import sparsity
from rankone.decomposition.evidence.spectrum import habits, spectrum, subcomponent_rows
from rankone.decomposition.evidence.text import EvidenceText
from rankone.decomposition.evidence.verdict import verdict
from rankone.decomposition.model import DecomposedModel
from rankone.decomposition.site import delta_of, faithfulness
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks


def work(sites: list[str], ladder: Sequence[int], restarts: int = 1) -> int:
    """Number of steps of a progress bar over `gather_evidence`."""
    held = min(ATTACK_STEPS, max(ladder))
    return 2 * max(ladder) * restarts + len(groups(sites)) + len(sites) + attacks(sites) * held


def gather_evidence(
    model: DecomposedModel,
    blocks: Blocks,
    about: TextUsed,
    ladder: Sequence[int],
    original: dict[str, int] | None = None,
    bar: Meter | None = None,
    restarts: int = 1,
    domains: Mapping[str, Blocks] | None = None,
) -> tuple[Evidence, list[SubcomponentRow]]:
    """(the evidence, one row per subcomponent by falling mean importance).

    about: what text the blocks are of. original: subcomponents per site before dead ones were folded into delta. domains:
    text by domain, of which two or more set parts against neurons (privileged_basis.py).
    """
    text = EvidenceText(model, blocks)
    rows = masking_rows(text)
    for delta in (False, True):
        rows += adversarial_rows(text, ladder, delta, bar=bar, restarts=restarts)
    subcomponents = subcomponent_rows(text)
    remainder = remainder_of(model)
    measured = Measured(
        tokens=int(blocks.present.sum()),
        text=about,
        rows=with_unrecovered(rows),
        **dict(sparsity(text, original)),
        faithfulness=remainder.faithfulness,
        delta_norm_share=remainder.share,
        adversary=adversary_used(text, ladder, restarts),
        spectrum=spectrum(subcomponents),
        habits=habits(subcomponents),
        masked_alone=masked_alone(text, bar),
        adversary_by_group=adversary_by_group(text, min(ATTACK_STEPS, max(ladder)), bar),
        hidden=hidden_errors(text),
        privileged_basis=privileged_basis(model, domains) if domains and len(domains) > 1 else None,
    )
    return Evidence(**dict(measured), verdict=verdict(measured)), subcomponents


class Remainder(NamedTuple):
    """Faithfulness error, and ‖Δ‖² as a share of ‖W‖², over all sites."""

    faithfulness: float
    share: float


def remainder_of(model: DecomposedModel) -> Remainder:
    """What the subcomponents of all sites leave of the weights."""
    decomposition = model.decomposition
    weights = [module.matrix() for module in model.modules]
    pairs = [decomposition.factors(s) for s in decomposition.sites]
    deltas = [delta_of(w, *pair).detach() for w, pair in zip(weights, pairs, strict=True)]
    squares = [d.square().sum() for d in deltas]
    norms = torch.stack([w.square().sum() for w in weights]).sum()
    return Remainder(faithfulness(squares, weights).item(), (torch.stack(squares).sum() / norms).item())
