"""Difference of means: the direction from the mean output on other text to that on wanted text."""

# Tensor.norm has no types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
from __future__ import annotations

from rankone.parts.sources.material import Made, Material, along_outputs


def means(material: Material) -> Made:
    """One part per site, w wᵀ W with w the unit difference of the mean outputs."""
    wanted, others = material.both()
    difference = wanted.output_mean() - others.output_mean()
    return along_outputs((difference / difference.norm().clamp_min(1e-12)).unsqueeze(0), material.weight)
