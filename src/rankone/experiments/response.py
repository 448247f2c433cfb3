"""Scale response: cross-entropy of every domain as the scale of some subcomponents moves together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict

from rankone.edits.scales import scale_edit
from rankone.experiments.measure import edited_cross_entropies
from rankone.metrics.cross_entropy import cross_entropies
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks
from rankone.workspace import Workspace


class Rise(TypedDict):
    """A row of a table: cross-entropy of a domain before and after an edit, and the difference, nats per token."""

    domain: str
    ce_base: float
    ce: float
    rise: float


class AlphaRise(Rise):
    """The same at a scale α."""

    alpha: float


def scale_response(
    workspace: Workspace,
    members: Sequence[str],
    alphas: Sequence[float],
    text: Mapping[str, Blocks],
    base: Mapping[str, float] | None = None,
    bar: Meter | None = None,
) -> list[AlphaRise]:
    """A row per α of `alphas` and domain, with all `members` at that scale.

    members: one subcomponent, or those of a component. base: cross-entropies of the unedited model, if known.
    """
    before = cross_entropies(workspace.model, text) if base is None else base
    rows: list[AlphaRise] = []
    for alpha in alphas:
        edit = scale_edit(workspace.require_parts(), dict.fromkeys(members, alpha))
        after = before if alpha == 1 else edited_cross_entropies(workspace.model, edit, text)
        rows += [AlphaRise(alpha=alpha, **row) for row in rises(before, after)]
        if bar is not None:
            bar.advance()
    return rows


def rises(base: Mapping[str, float], edited: Mapping[str, float]) -> list[Rise]:
    """One row per domain: CE before, after, difference."""
    return [{"domain": d, "ce_base": base[d], "ce": edited[d], "rise": edited[d] - base[d]} for d in edited]
