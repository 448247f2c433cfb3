"""The masked site in one differentiable step, with masks formed where they are used and nowhere kept.

With m = g + (1 − g) r, g the lower squashing of the importance logit and ρ the routing, a site gives

    y = ((x V) ⊙ (m − m_Δ) ρ) U + (ρ m_Δ + 1 − ρ) · x Wᵀ

which is `DecomposedSite`'s formula. What a backward needs beside its inputs is x V alone: the gated activations are
computed again in the kernel that reads them. The element-wise work on [positions, subcomponents] is two kernels,
`_gated` and `_gated_backward`; they read and write bf16 under autocast, compute in fp32, and are compiled on request.
The second adds the gradients of logits and sources where `MaskParts` says, and leaves autograd nothing to join.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from rankone.decomposition.masking.kernels import kernel
from rankone.decomposition.masking.masks import MaskParts, sources
from rankone.decomposition.masking.squash import lower_gradient, wide


class Factors(NamedTuple):
    """V [d_in, C], U [C, d_out] and W [d_out, d_in] in the precision of the products."""

    read: Tensor
    write: Tensor
    weight: Tensor


class CastFactors:
    """Copies of a site's matrices in the precision of its products, made anew when one of them has changed."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._copies: Factors | None = None

    def __call__(self, read: Tensor, write: Tensor, weight: Tensor, dtype: torch.dtype) -> Factors:
        """V, U and W in `dtype`."""
        key = (dtype, *((t.data_ptr(), t._version) for t in (read, write, weight)))
        if key != self._key or self._copies is None:
            self._key, self._copies = key, Factors(*(t.detach().to(dtype) for t in (read, write, weight)))
        return self._copies


class Needs(NamedTuple):
    """Which gradients a backward is asked for, beside those of x, the logits and the source."""

    factors: bool
    delta: bool


def _scale(g: Tensor, r: Tensor, delta: Tensor, route: Tensor) -> Tensor:
    """(m − m_Δ) ρ."""
    return (g + (1 - g) * r - delta) * route


def _gated(
    activation: Tensor,
    logits: Tensor,
    noise: Tensor | None,
    source: Tensor | None,
    adversarial: Tensor,
    level: Tensor | None,
    delta: Tensor,
    route: Tensor,
) -> Tensor:
    """(x V) ⊙ (m − m_Δ) ρ."""
    scale = _scale(wide(logits).clamp(0, 1), sources(noise, source, adversarial, level), delta, route)
    return (wide(activation) * scale).to(activation.dtype)


def _gated_backward(
    grad: Tensor,
    activation: Tensor,
    logits: Tensor,
    noise: Tensor | None,
    source: Tensor | None,
    adversarial: Tensor,
    level: Tensor | None,
    delta: Tensor,
    route: Tensor,
    to_logits: Tensor | None,
    to_source: Tensor | None,
    needs: Needs,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients of x V and delta's mask, and the gated activations (for U's gradient).

    Those of logits and source are added to `to_logits` and `to_source`.
    """
    logit, r = wide(logits), sources(noise, source, adversarial, level)
    g, upstream, value = logit.clamp(0, 1), wide(grad), wide(activation)
    scale = _scale(g, r, delta, route)
    to_mask = upstream * value * route
    if to_logits is not None:
        to_logits.copy_(wide(to_logits) + lower_gradient(logit, to_mask * (1 - r)))
    if to_source is not None:
        to_noise = to_mask * (1 - g)
        # Without noise every slot is adversarial.
        to_noise = (
            to_noise if noise is None else torch.where(adversarial, to_noise, torch.zeros_like(to_noise))
        )
        to_source.add_(_sum_to(to_noise, to_source.shape))
    gated = (value * scale).to(activation.dtype) if needs.factors else None
    to_delta = -to_mask.sum(-1, keepdim=True) if needs.delta else None
    return (upstream * scale).to(activation.dtype), to_delta, gated


def _sum_to(value: Tensor, shape: torch.Size) -> Tensor:
    dims = [
        i for i, (have, want) in enumerate(zip(value.shape, shape, strict=True)) if want == 1 and have > 1
    ]
    return value.sum(dims, keepdim=True) if dims else value


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """total + a b in total's memory (not `addmm_`, which torch's counter of operations does not know)."""
    return torch.addmm(total, a, b, out=total)


class _MaskedSite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        read: Tensor,
        write: Tensor,
        delta: Tensor,
        route: Tensor,
        parts: MaskParts,
        factors: Factors,
        compiled: bool,
    ) -> Tensor:
        del read, write  # their gradients are asked for; the products take the copies in `factors`
        x = x.to(factors.read.dtype)
        slots = parts.logits.shape[:2]
        given = (parts.logits, parts.noise, parts.source, parts.adversarial, parts.level)
        masks = (*given, delta.reshape(*slots, 1), route.reshape(*slots, 1))
        flat = x.flatten(0, -2)
        activation = flat @ factors.read
        gated = kernel(_gated, compiled)(activation.view(*slots, -1), *masks)
        share = (delta * route + 1 - route).to(x.dtype).reshape(-1, 1)
        out = _add_product((flat @ factors.weight.T).mul_(share), gated.view_as(activation), factors.write)
        ctx.save_for_backward(flat, activation, share, *masks, *factors)
        ctx.compiled, ctx.search = compiled, parts.search
        ctx.sums = parts.to_logits, parts.to_source
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        flat, activation, share, *masks, read, write, weight = ctx.saved_tensors
        into_x, into_read, _, into_delta, *_ = ctx.needs_input_grad
        needs = Needs(into_read and not ctx.search, into_delta)
        rows, flat_grad = masks[0].shape[:2], grad.flatten(0, -2)
        up = (flat_grad @ write.T).view(*rows, -1)
        to_activation, to_delta, gated = kernel(_gated_backward, ctx.compiled)(
            up, activation.view(*rows, -1), *masks, *ctx.sums, needs
        )
        to_activation = to_activation.view_as(activation)
        to_read = to_write = to_x = None
        if needs.factors:
            to_read, to_write = flat.T @ to_activation, gated.view_as(activation).T @ flat_grad
        if into_x or needs.delta:
            through_weight = flat_grad @ weight
            if needs.delta:
                # ∂(ρ m_Δ x Wᵀ): the product with W is there already, on the gradient's side.
                delta_dtype = torch.promote_types(flat.dtype, torch.float32)
                along_weight = (flat * through_weight).sum(-1, dtype=delta_dtype).view(grad.shape[:-1])
                to_delta = along_weight.unsqueeze(-1) * masks[-1].view(*grad.shape[:-1], 1) + to_delta.view(
                    *grad.shape[:-1], 1
                )
            if into_x:
                to_x = _add_product(through_weight.mul_(share), to_activation, read.T)
                to_x = to_x.view(*grad.shape[:-1], -1)
        return to_x, to_read, to_write, to_delta, None, None, None, None


def masked_site(
    x: Float[Tensor, "b t d_in"],
    read: Float[Tensor, "d_in c"],
    write: Float[Tensor, "c d_out"],
    parts: MaskParts,
    delta: Float[Tensor, "b t 1"],
    route: Float[Tensor, "b t 1"],
    factors: Factors,
    compiled: bool = False,
) -> Float[Tensor, "b t d_out"]:
    """The site's output without its bias; gradients go to x, V (`read`), U (`write`) and delta's mask, and to where
    `parts` has those of logits and source added.

    `factors` holds V, U and W again in the precision of the products, so that they are cast once a step.
    """
    return _MaskedSite.apply(  # pyright: ignore[reportReturnType]
        x, read, write, delta, route, parts, factors, compiled
    )
