"""A start for targeted runs: each site cut down to the output directions that the narrow text uses most.

With M the second moment E[x xᵀ] of a site's input, on narrow text minus `contrast` times that on broad text, q_c are the
orthonormal eigenvectors of W M Wᵀ with the largest eigenvalues, u_c ∝ q_c and v_c ∝ Wᵀ q_c. V U is then W projected on
span(q): at contrast 0 the best approximation of the outputs on narrow text of that rank (in the squared error).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.decomposition.init.initialisation import Factors
from rankone.decomposition.site import site_weight
from rankone.models.output import output_of
from rankone.models.sites import Site
from rankone.runtime.progress import meter

# Of each stream; many more than there are directions to find.
POSITIONS = 4096
ROWS_AT_ONCE = 8


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
    moments = {s.name: torch.zeros(min(s.d_in, s.d_out), min(s.d_in, s.d_out)) for s in sites}
    device = next(target.parameters()).device
    with meter("principal directions", 2) as bar:
        for rows, weight in ((narrow, 1.0), (broad, -contrast)):
            _add_moments(target, sites, rows[: -(-POSITIONS // rows.shape[1])], weight, moments, device)
            bar.advance(1)
    return {s.name: _cut(s, moments[s.name], count) for s, count in zip(sites, counts, strict=True)}


@torch.no_grad()
def _add_moments(
    target: nn.Module,
    sites: Sequence[Site],
    rows: Int[np.ndarray, "n t"],
    weight: float,
    moments: dict[str, Tensor],
    device: torch.device,
) -> None:
    """Add weight · E[z zᵀ] to the moments, z the site's input, or its output without bias if that is smaller."""
    if weight == 0:
        return
    ids = torch.from_numpy(rows.astype(np.int64))
    with ExitStack() as hooks:
        for site in sites:
            hook = _adder(site, weight / ids.numel(), moments[site.name])
            hooks.callback(site.module.register_forward_hook(hook).remove)
        for part in ids.split(ROWS_AT_ONCE):
            output_of(target, part.to(device))


def _adder(site: Site, scale: float, moment: Tensor) -> Callable[[nn.Module, Any, Any], None]:
    def add(module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        del module, output
        z = given[0].flatten(0, -2).float()
        if site.d_out < site.d_in:
            z = z @ site_weight(site).T
        moment.add_((scale * (z.T @ z)).cpu())

    return add


def _cut(site: Site, moment: Float[Tensor, "d d"], count: int) -> Factors:
    """The factors of one site from the moment of its smaller side."""
    weight = site_weight(site).cpu()
    if site.d_out < site.d_in:
        directions = torch.linalg.eigh(moment).eigenvectors
    else:
        # Eigenvectors of W M Wᵀ without a d_out × d_out matrix: W = Q R, those of R M Rᵀ, and Q in front.
        basis, small = torch.linalg.qr(weight)
        directions = basis @ torch.linalg.eigh(small @ moment @ small.T).eigenvectors
    write = directions[:, -count:].flip(1).T  # [C, d_out], the largest first
    read = write @ weight
    size = read.norm(dim=1, keepdim=True).clamp_min(1e-12).sqrt()
    return (read / size).T.contiguous(), (write * size).contiguous()
