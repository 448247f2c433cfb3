"""The masked forward of one site, and putting decomposed sites into a target model and taking them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from rankone.decomposition.masking.fused_site import CastFactors, masked_site
from rankone.decomposition.masking.masking import MaskingInForce, SiteMask
from rankone.decomposition.masking.masks import MaskParts
from rankone.models.modules import replaced
from rankone.models.sites import Site, find_sites, weight_of


def gate(
    activation: Float[Tensor, "b t c"],
    mask: Float[Tensor, "b t c"],
    delta: Float[Tensor, "b t 1"],
    route: Float[Tensor, "b t 1"],
) -> Float[Tensor, "b t c"]:
    """Subcomponent activations times route · (m − m_Δ): with m_Δ x Wᵀ added, exactly the masked site."""
    return activation * ((mask - delta) * route).to(activation.dtype)


class DecomposedSite(nn.Module):
    """A linear layer W = Σ_c u_c v_cᵀ + Δ whose subcomponents can be masked per position.

    y = ((x V) ⊙ (m − m_Δ)) U + m_Δ · x Wᵀ + b, which equals ((x V) ⊙ m) U + m_Δ · x Δᵀ + b without ever
    forming V U (the identity Δ = W − (V U)ᵀ). Where a position is not routed the site is plain W.

    V: [d_in, C] (read), U: [C, d_out] (write). Its mask is that of `name` in the masking in force; without one the
    original layer runs untouched, so its output is equal to the bit. Some models run a layer on all positions in one row,
    [B·T, d_in]: the masking's grid says how masks lie on them.
    """

    def __init__(
        self,
        base: nn.Module,
        site: Site,
        factors: tuple[nn.Parameter, nn.Parameter],
        in_force: MaskingInForce,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        self.base = base
        self.V, self.U = factors
        self.name, self.transposed = site.name, site.transposed
        self.compiled, self._in_force, self._cast = compiled, in_force, CastFactors()

    @property
    def weight(self) -> Tensor:
        """The target's weight, for code that reads `layer.weight`."""
        return self.base.weight  # pyright: ignore[reportReturnType]

    @property
    def bias(self) -> Tensor | None:
        """The target's bias, likewise; None where there is none."""
        return getattr(self.base, "bias", None)

    def forward(self, x: Float[Tensor, "b t d_in"]) -> Float[Tensor, "b t d_out"]:
        """Run the layer, masked if the masking in force has a mask for it."""
        masking = self._in_force.now
        if masking is None:
            return self.base(x)
        gridded = x.view(*masking.grid, -1) if x.ndim == 2 else x
        if masking.inputs is not None:
            masking.inputs[self.name] = gridded
        mask = masking.masks.get(self.name)
        if mask is None:
            return self.base(x)
        out = self._masked(gridded, mask)
        if masking.outputs is not None:
            masking.outputs[self.name] = out
        return out.flatten(0, 1) if x.ndim == 2 else out

    def _masked(self, x: Float[Tensor, "b t d_in"], mask: SiteMask) -> Float[Tensor, "b t d_out"]:
        m, wide = mask.mask, as_precise(x, self.V)
        out = self._by_parts(wide, m, mask) if isinstance(m, MaskParts) else self._by_mask(wide, m, mask)
        out = out if self.bias is None else out + self.bias
        return out if wide is x else out.to(x.dtype)

    def _by_parts(
        self, x: Float[Tensor, "b t d_in"], parts: MaskParts, mask: SiteMask
    ) -> Float[Tensor, "b t d_out"]:
        assert mask.delta is not None
        assert mask.route is not None
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.V.dtype
        # What FSDP gathers goes again: no copy of it is kept.
        cast = CastFactors() if issubclass(type(self), FSDPModule) else self._cast
        factors = cast(self.V, self.U, self._weight(), dtype)
        return masked_site(x, self.V, self.U, parts, mask.delta, mask.route, factors, self.compiled)

    def _by_mask(
        self, x: Float[Tensor, "b t d_in"], m: Float[Tensor, "b t c"], mask: SiteMask
    ) -> Float[Tensor, "b t d_out"]:
        activation = x @ self.V
        if mask.delta is None and mask.route is None:
            return (activation * m.to(activation.dtype)) @ self.U
        delta = mask.delta if mask.delta is not None else x.new_zeros(())
        route = mask.route if mask.route is not None else x.new_ones(())
        out = gate(activation, m, delta, route) @ self.U
        # Not routed means W alone: the delta path carries it with weight one.
        return out + (delta * route + 1 - route).to(out.dtype) * F.linear(x, as_precise(self._weight(), x))

    def matrix(self) -> Float[Tensor, "d_out d_in"]:
        """The target's weight as a detached fp32 matrix, whatever layout the layer stores."""
        return self._weight().detach().float()

    def _weight(self) -> Tensor:
        weight: Tensor = self.base.weight  # pyright: ignore[reportAssignmentType]
        return weight.T if self.transposed else weight


def as_precise(x: Tensor, parameter: Tensor) -> Tensor:
    """x in the precision of a parameter, which a target in bf16 has less of; as it is where autocast chooses."""
    return x if torch.is_autocast_enabled(x.device.type) else x.to(parameter.dtype)


@contextmanager
def installed(
    model: nn.Module,
    factors: Mapping[str, tuple[nn.Parameter, nn.Parameter]],
    in_force: MaskingInForce,
    compiled: bool = False,
) -> Iterator[dict[str, DecomposedSite]]:
    """Replace the named sites of `model` by decomposed ones, masked by what is `in_force`, while the block runs.

    factors: site name → (V [d_in, C], U [C, d_out]). The original modules are put back whatever happens.
    """
    sites = {site.name: site for site in find_sites(model, None)}
    placed = {
        name: DecomposedSite(sites[name].module, sites[name], pair, in_force, compiled)
        for name, pair in factors.items()
    }
    with replaced(model, placed):
        yield placed


def site_weight(site: Site) -> Float[Tensor, "d_out d_in"]:
    """The site's weight as a detached fp32 matrix."""
    return weight_of(site).detach().float()


def delta_of(
    weight: Float[Tensor, "d_out d_in"], read: Float[Tensor, "d_in c"], write: Float[Tensor, "c d_out"]
) -> Float[Tensor, "d_out d_in"]:
    """Δ = W − (V U)ᵀ."""
    return weight - (read @ write).T


def faithfulness(squares: list[Float[Tensor, ""]], weights: list[Tensor]) -> Float[Tensor, ""]:
    """Σ‖Δ_l‖²_F / N over the N decomposed weights, from the ‖Δ_l‖²_F (method: mean squared error, fp32)."""
    return torch.stack(squares).sum() / sum(w.numel() for w in weights)


def relative_faithfulness(squares: list[Float[Tensor, ""]], weights: list[Tensor]) -> Float[Tensor, ""]:
    """Mean over sites of ‖Δ_l‖²_F / ‖W_l‖²_F: every site counts alike, whatever the size of its weights.

    Of some rows of Δ alone it is their share of that mean.
    """
    shares = [square / w.square().sum() for square, w in zip(squares, weights, strict=True)]
    return torch.stack(shares).mean()
