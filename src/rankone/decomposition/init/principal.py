"""A start for targeted runs: each site cut down to the output directions that the narrow text uses most.

With M the second moment E[x xᵀ] of a site's input, on narrow text minus `contrast` times that on broad text, q_c are the
orthonormal eigenvectors of W M Wᵀ with the largest eigenvalues, u_c ∝ q_c and v_c ∝ Wᵀ q_c. V U is then W projected on
span(q): at contrast 0 the best approximation of the outputs on narrow text of that rank (in the squared error).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.decomposition.init.initialisation import Factors
from rankone.models.sites import Site
from rankone.parts.moments import collect_moments
from rankone.parts.sources.contrast import leading_outputs
from rankone.runtime.progress import meter

# Of each stream; many more than there are directions to find.
POSITIONS = 4096


def principal_factors(
    target: nn.Module,
    sites: Sequence[Site],
    counts: Sequence[int],
    narrow: Int[np.ndarray, "n t"],
    broad: Int[np.ndarray, "m t"],
    contrast: float,
) -> dict[str, Factors]:
    """Site name → (V [d_in, C], U [C, d_out]) on the CPU, ‖u_c‖ = ‖v_c‖; RankOneError where C exceeds the rank."""
    for site, count in zip(sites, counts, strict=True):
        rank = min(site.d_in, site.d_out)
        if count > rank:
            raise RankOneError(
                f"a principal start finds at most {rank} directions in '{site.name}', but C = {count}. "
                "Lower C, or use `initialisation: random`."
            )
    with meter("principal directions", 1 + (contrast > 0)) as bar:
        moments = []
        for rows in (narrow, broad)[: 1 + (contrast > 0)]:
            ids = torch.from_numpy(rows[: -(-POSITIONS // rows.shape[1])].astype(np.int64))
            moments.append(collect_moments(target, sites, ids))
            bar.advance(1)
    of_narrow, of_broad = moments[0], moments[-1]
    return {
        s.name: _cut(
            leading_outputs(of_narrow[s.name], of_broad[s.name], contrast, count), of_narrow[s.name].weight
        )
        for s, count in zip(sites, counts, strict=True)
    }


def _cut(write: Float[Tensor, "c d_out"], weight: Float[Tensor, "d_out d_in"]) -> Factors:
    """The factors of one site from its output directions, on the CPU, in equal halves."""
    write, read = write.cpu(), (write @ weight).cpu()
    size = read.norm(dim=1, keepdim=True).clamp_min(1e-12).sqrt()
    return (read / size).T.contiguous(), (write * size).contiguous()
