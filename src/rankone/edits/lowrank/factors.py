"""The two factors of one weight's change, and the weight that they give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.models.sites import Site, sites_named, weight_of


class Factors(NamedTuple):
    """The change write @ read of one weight; r is its rank (0 is allowed and changes nothing)."""

    write: Float[Tensor, "d_out r"]
    read: Float[Tensor, "r d_in"]

    def product(self, like: Tensor) -> Float[Tensor, "d_out d_in"]:
        """write @ read in the dtype and on the device of `like`, also where the caller's autocast would take another."""
        with torch.autocast(like.device.type, enabled=False):
            return self.write.to(like) @ self.read.to(like)


def checked_factors(name: str, write: Tensor, read: Tensor) -> Factors:
    """Copies of both factors in fp32 or fp64; RankOneError for wrong shapes, integers, NaN and infinity."""
    if not (isinstance(write, Tensor) and isinstance(read, Tensor)):  # pyright: ignore[reportUnnecessaryIsInstance]
        kinds = f"{type(write).__name__} and {type(read).__name__}"
        raise RankOneError(f"factors of '{name}' are tensors, not {kinds}: write torch.as_tensor(values).")
    shapes = f"write {tuple(write.shape)}, read {tuple(read.shape)}"
    if write.ndim != 2 or read.ndim != 2 or write.shape[1] != read.shape[0]:
        raise RankOneError(f"factors of '{name}' do not fit: {shapes}; expected [d_out, r] and [r, d_in].")
    if not (write.is_floating_point() and read.is_floating_point()):
        raise RankOneError(f"factors of '{name}' must be real numbers, not {write.dtype} and {read.dtype}.")
    if not (write.isfinite().all() and read.isfinite().all()):
        raise RankOneError(
            f"factors of '{name}' hold NaN or infinity: a scale that float32 cannot hold, or a fit that has diverged."
        )
    wide = torch.promote_types(torch.promote_types(write.dtype, read.dtype), torch.float32)
    return Factors(write.detach().to(wide, copy=True), read.detach().to(wide, copy=True))


def expect_shape(name: str, factors: Factors, d_out: int, d_in: int) -> None:
    """RankOneError unless the factors are those of a weight [d_out, d_in]."""
    shape = (factors.write.shape[0], factors.read.shape[1])
    if shape != (d_out, d_in):
        raise RankOneError(
            f"the edit of '{name}' is {list(shape)}, but the weight is {[d_out, d_in]}: it was made for another model. "
            "Give the one it was made for."
        )


def fitting_sites(model: nn.Module, factors: Mapping[str, Factors]) -> dict[str, Site]:
    """The model's sites that the factors change, shapes checked; weights without values are refused."""
    sites = sites_named(model, list(factors))
    for name, site in sites.items():
        expect_shape(name, factors[name], site.d_out, site.d_in)
        if site.module.get_parameter("weight").is_meta:
            raise RankOneError(
                f"the weight of '{name}' has no values (meta device or offloaded). Load the model with its weights, on one "
                "device."
            )
    return sites


def concatenated(first: Factors, second: Factors) -> Factors:
    """The factors of the sum of both changes."""
    write = torch.cat((first.write, second.write.to(first.write.device)), dim=1)
    return Factors(write, torch.cat((first.read, second.read.to(first.read.device)), dim=0))


def wide_weight(site: Site, factors: Factors) -> Float[Tensor, "d_out d_in"]:
    """The site's weight in the wider of its dtype and that of the factors."""
    weight = weight_of(site)
    return weight.to(torch.promote_types(weight.dtype, factors.write.dtype))


def edited_weight(
    site: Site, factors: Factors, dtype: torch.dtype | None = None
) -> Float[Tensor, "d_out d_in"]:
    """W + write @ read, summed in at least fp32, rounded to `dtype` (None: the weight's), finite."""
    wide = wide_weight(site, factors)
    result = (wide + factors.product(wide)).to(dtype or weight_of(site).dtype)
    if not result.isfinite().all():
        cause = "the weight itself is not finite" if not wide.isfinite().all() else "the change is too large"
        raise RankOneError(f"editing '{site.name}' gives NaN or infinity in {result.dtype}: {cause}.")
    return result
