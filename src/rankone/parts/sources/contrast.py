"""Contrast directions: where the outputs on wanted text have much more energy than those on other text.

The leading eigenvectors w of E_own[y yᵀ] − κ E_others[y yᵀ]; the parts are w wᵀ W. They are also where a targeted
decomposition starts (decomposition/init/principal.py).
"""

# torch.linalg and norms have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rankone.parts.moments import SiteMoments
from rankone.parts.sources.material import Made, Material, along_outputs


def contrast(material: Material) -> Made:
    """The `count` leading directions, those with the most energy first."""
    wanted, others = material.both()
    return along_outputs(leading_outputs(wanted, others, material.contrast, material.count), material.weight)


def leading_outputs(
    wanted: SiteMoments, others: SiteMoments, contrast: float, count: int
) -> Float[Tensor, "count d_out"]:
    """Orthonormal eigenvectors of W (M_own − κ M_others) Wᵀ with the largest eigenvalues, the largest first."""
    moment = wanted.second - contrast * others.second
    if wanted.of_output:
        directions = torch.linalg.eigh(moment).eigenvectors
    else:
        # Without a d_out × d_out matrix: W = Q R, the eigenvectors of R M Rᵀ, and Q in front.
        basis, small = torch.linalg.qr(wanted.weight)
        directions = basis @ torch.linalg.eigh(small @ moment @ small.T).eigenvectors
    return directions[:, -count:].flip(1).T
