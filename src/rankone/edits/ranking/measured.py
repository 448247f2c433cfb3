"""The pick among candidates, by measuring: the part that removes most at the size the rule of every fit allows it.

Each candidate is inverted to a few sizes; the largest that keeps every retained domain within the aim's tolerance counts
(edits/fitting/size.py). Importance and labels say what a part is for, not what its read direction answers to besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.size import damages, removals
from rankone.edits.scales import scale_edit
from rankone.parts.parts import Parts
from rankone.runtime.progress import Meter
from rankone.text.blocks import Blocks

# Sizes s of ΔW = −s u vᵀ, so α = 1 − s: a coarse scan, a fit finds the size to a fiftieth.
SIZES = (3.0, 6.0, 10.0, 16.0, 24.0)


@dataclass(frozen=True)
class Tried:
    """One candidate at its best allowed size: cross-entropy of the forget text and the most KL on a retained domain, nats
    per token. α = 1 where no size was allowed."""

    name: str
    alpha: float
    removal: float
    worst: float


def measured(
    model: PreTrainedModel,
    parts: Parts,
    names: Sequence[str],
    forget: Blocks,
    retain: Mapping[str, Blocks],
    aim: Aim,
    bar: Meter | None = None,
) -> list[Tried]:
    """Every candidate at its size, best first: most removed as far as the aim wants it, then least damage."""
    tried = []
    for name in names:
        tried.append(_tried(model, parts, name, forget, retain, aim))
        if bar is not None:
            bar.advance(1)
    return sorted(tried, key=lambda t: (-min(t.removal, aim.target), t.worst))


def _tried(
    model: PreTrainedModel,
    parts: Parts,
    name: str,
    forget: Blocks,
    retain: Mapping[str, Blocks],
    aim: Aim,
) -> Tried:
    edit = scale_edit(parts, {name: 0.0})
    each = [dict(zip(retain, kl, strict=True)) for kl in damages(model, edit, SIZES, retain).T.tolist()]
    base, *removed = [removal.mean for removal in removals(model, edit, (0.0, *SIZES), forget)]
    nothing = Tried(name, 1.0, base, 0.0)
    sizes = [
        Tried(name, 1 - size, removal, max(kl.values()))
        for size, removal, kl in zip(SIZES, removed, each, strict=True)
        if aim.strain(kl) <= 1
    ]
    return max([nothing, *sizes], key=lambda t: (min(t.removal, aim.target), -t.worst))
