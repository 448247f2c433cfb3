"""Ranking by what turning a scale does to first order: the gradient of the cross-entropy with respect to α."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.edits.gradients import scale_gradients
from rankone.edits.ranking.asked import Asked, Ranking, Sources
from rankone.runtime.progress import meter

PENALTY = 1.0


def by_gradient(asked: Asked, sources: Sources) -> Ranking:
    """|∂CE/∂α| on `of`, less `penalty` times that on `against` where it is given; means over the domains of a group.

    The one scale of a component has the sum of its members' gradients. A scale may be turned either way, so the size
    counts; the sign says which way raises the loss.
    """
    text = sources.text([*asked.of, *asked.against])
    with meter("gradients", sum(blocks.tokens for blocks in text.values())) as bar:
        gradients = {d: scale_gradients(sources.workspace, blocks, bar) for d, blocks in text.items()}
    if sources.grouping is not None:
        gradients = {d: sources.grouping.summed(gradient) for d, gradient in gradients.items()}
    penalty = PENALTY if asked.penalty is None else asked.penalty
    score = _size(gradients, asked.of)
    note = "nats per unit of α at α = 1, on training text; above 0 a larger α raises the cross-entropy"
    if asked.against:
        score = score - penalty * _size(gradients, asked.against)
        note += f"; score: mean size on {', '.join(asked.of)} less {penalty:g} times that on {', '.join(asked.against)}"
    columns: dict[str, Sequence[object]] = {
        d: [float(f"{v:.3g}") for v in gradient.tolist()] for d, gradient in gradients.items()
    }
    title = f"Steepest in the cross-entropy of {', '.join(asked.of)}"
    return Ranking(title, "score", note, sources.names, score, columns)


def _size(gradients: dict[str, Float[Tensor, " subcomponents"]], domains: Sequence[str]) -> Tensor:
    return torch.stack([gradients[d].abs() for d in domains]).mean(0)
