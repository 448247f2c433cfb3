"""Top singular directions: W = Σ s_c a_c b_cᵀ, the part is u = a_c, v = s_c b_c. A control that knows the weight alone."""

# torch.linalg and norms have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import torch

from rankone.parts.sources.material import Made, Material, along_outputs


def singular(material: Material) -> Made:
    """The `count` largest singular directions (as many as the rank has)."""
    left = torch.linalg.svd(material.weight, full_matrices=False).U
    return along_outputs(left[:, : material.count].T, material.weight)
