"""An edit made permanent in a copy of the model, and what rounding to its dtype left of it."""

# Tensor.norm has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankone.core.config import Config
from rankone.edits.lowrank.applied import refuse_applied
from rankone.edits.lowrank.factors import Factors, edited_weight, fitting_sites, wide_weight
from rankone.models.sites import Site, sites_named


class SiteMerge(Config):
    """What rounding to the merged dtype left of one site's change ΔW.

    The realised change is W' − W, both rounded to that dtype. `norm_ratio` is ‖realised‖ / ‖ΔW‖ (rounding
    noise can lift it above 1) and `survived` is ⟨realised, ΔW⟩ / ‖ΔW‖², the share of ΔW itself that arrived.
    Both are 1 where ΔW = 0.
    """

    name: str
    entries: int
    changed: int
    norm_ratio: float
    survived: float


class MergeReport(Config):
    """Dtype of the merged weights and one line per site."""

    dtype: str
    sites: tuple[SiteMerge, ...]

    @property
    def worst(self) -> float:
        """The smallest `survived` of all sites."""
        return min(site.survived for site in self.sites)


class Merged(NamedTuple):
    """A merged model and what the merge did."""

    model: nn.Module
    report: MergeReport


def merge_factors(
    model: nn.Module, factors: Mapping[str, Factors], dtype: torch.dtype | None, in_place: bool
) -> Merged:
    """The model (or a copy) with the change in its weights, all of them in `dtype`; sums are formed in fp32."""
    refuse_applied(model)
    sites = fitting_sites(model, factors)
    merged = {name: edited_weight(site, factors[name], dtype) for name, site in sites.items()}
    lines = tuple(_measure(site, factors[name], merged[name]) for name, site in sites.items())
    target = model if in_place else copy.deepcopy(model)
    before = {name: parameter.data for name, parameter in model.named_parameters()} if in_place else {}
    try:
        if dtype is not None:
            cast_parameters(target, dtype)
        for name, site in sites_named(target, list(factors)).items():
            # A tensor of its own: the one that stood there comes back if anything stops this half-way.
            weight = site.module.get_parameter("weight")
            weight.data = (merged[name].T if site.transposed else merged[name]).to(weight.dtype).contiguous()
    except BaseException:
        for name, data in before.items():
            model.get_parameter(name).data = data
        raise
    label = dtype if dtype is not None else next(model.parameters()).dtype
    return Merged(target, MergeReport(dtype=str(label).removeprefix("torch."), sites=lines))


def cast_parameters(model: nn.Module, dtype: torch.dtype) -> None:
    """Round all floating parameters to `dtype` in place; buffers (rotary tables) keep theirs."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)


def _measure(site: Site, factors: Factors, merged: Float[Tensor, "d_out d_in"]) -> SiteMerge:
    wide = wide_weight(site, factors)
    # In float64, where the square of a tiny norm is not zero.
    intended = factors.product(wide).double()
    realised = merged.double() - wide.to(merged.dtype).double()
    norm = intended.norm()
    ratio, survived = (
        (realised.norm() / norm, (realised * intended).sum() / norm**2) if norm > 0 else (1.0, 1.0)
    )
    return SiteMerge(
        name=site.name,
        entries=merged.numel(),
        changed=int(realised.count_nonzero()),
        norm_ratio=float(ratio),
        survived=float(survived),
    )
