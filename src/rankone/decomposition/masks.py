"""Masks m = g + (1 − g) r from importance logits and sources, fused with the importance penalty.

Everything that touches [positions, subcomponents] tensors is in the two functions `_forward` and `_backward`: they
are memory-bound and dominate a training step, so both are compiled, read the logits once, and keep bf16 in memory
with fp32 arithmetic.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from rankone.decomposition.minimality import PENALTIES
from rankone.decomposition.squash import lower_gradient, upper, upper_slope


def _sources(noise: Tensor, level: Tensor | None, source: Tensor, adversarial: Tensor) -> Tensor:
    """r: the adversary's, or drawn: uniform in [0, 1], or with levels 1 with probability `level`, else 0."""
    byte = noise.float() + 0.5
    drawn = byte / 256 if level is None else (byte < 256 * level).float()
    return torch.where(adversarial, source, drawn)


def _forward(
    logits: Tensor,
    noise: Tensor,
    level: Tensor | None,
    source: Tensor,
    adversarial: Tensor,
    sharpness: Tensor,
    kind: str,
) -> tuple[Tensor, Tensor, Tensor]:
    penalty, _ = PENALTIES[kind]
    logit = logits.float()
    r = _sources(noise, level, source, adversarial)
    g = logit.clamp(0, 1)
    mask = (g + (1 - g) * r).to(logits.dtype)
    mean_penalty = penalty(upper(logit), sharpness).mean((0, 1))
    firing = (logit > 0).float().mean((0, 1))
    return mask, mean_penalty, firing


def _backward(
    logits: Tensor,
    noise: Tensor,
    level: Tensor | None,
    source: Tensor,
    adversarial: Tensor,
    sharpness: Tensor,
    grad_mask: Tensor,
    grad_penalty: Tensor,
    kind: str,
) -> tuple[Tensor, Tensor]:
    _, slope = PENALTIES[kind]
    logit, grad = logits.float(), grad_mask.float()
    r = _sources(noise, level, source, adversarial)
    through_mask = lower_gradient(logit, grad * (1 - r))
    # d f_c / d logit: no gradient where the squashing is flat, so ψ'(0) = ∞ of L_p (p < 1) never appears.
    flat = logit <= 0
    through_penalty = torch.where(
        flat, torch.zeros_like(logit), slope(upper(logit), sharpness) * upper_slope(logit)
    )
    positions = logits.shape[0] * logits.shape[1]
    grad_logits = through_mask + through_penalty * (grad_penalty / positions)
    grad_source = torch.where(adversarial, grad * (1 - logit.clamp(0, 1)), torch.zeros_like(grad))
    return grad_logits.to(logits.dtype), _sum_to(grad_source, source.shape)


def _sum_to(value: Tensor, shape: torch.Size) -> Tensor:
    dims = [
        i for i, (have, want) in enumerate(zip(value.shape, shape, strict=True)) if want == 1 and have > 1
    ]
    return value.sum(dims, keepdim=True) if dims else value


@functools.cache
def _kernels(compiled: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    if not compiled:
        return _forward, _backward
    return torch.compile(_forward, dynamic=False), torch.compile(_backward, dynamic=False)


class _Masks(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        noise: Tensor,
        level: Tensor | None,
        source: Tensor,
        adversarial: Tensor,
        sharpness: Tensor,
        kind: str,
        compiled: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        given = (logits, noise, level, source, adversarial, sharpness)
        mask, penalty, firing = _kernels(compiled)[0](*given, kind)
        ctx.save_for_backward(*given)
        ctx.kind, ctx.compiled = kind, compiled
        ctx.mark_non_differentiable(firing)
        return mask, penalty, firing

    @staticmethod
    def backward(ctx: Any, grad_mask: Tensor, grad_penalty: Tensor, grad_firing: Tensor) -> tuple[Any, ...]:  # noqa: ARG004  # pyright: ignore[reportIncompatibleMethodOverride]
        kernel = _kernels(ctx.compiled)[1]
        grads = kernel(*ctx.saved_tensors, grad_mask.contiguous(), grad_penalty, ctx.kind)
        return grads[0], None, None, grads[1], None, None, None, None


def masks_and_penalty(
    logits: Float[Tensor, "b t c"],
    noise: UInt8[Tensor, "b t c"],
    source: Float[Tensor, "sb st c"],
    adversarial: Bool[Tensor, "b 1 1"],
    sharpness: Float[Tensor, ""],
    kind: str,
    compiled: bool = False,
    level: Float[Tensor, "b 1 1"] | None = None,
) -> tuple[Float[Tensor, "b t c"], Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Masks, mean penalty f_c and firing share of each subcomponent, from importance logits.

    Rows that are adversarial take r from `source` (broadcast over its size-1 dimensions; its gradient is summed
    back over them), the others from `noise` as (noise + ½)/256, or, given a level per row, as 1 where that is below
    the level and 0 elsewhere. Gradients follow the lower squashing in the masks
    and the upper one in the penalty.
    """
    return _Masks.apply(logits, noise, level, source, adversarial, sharpness, kind, compiled)  # pyright: ignore[reportReturnType]


def draw_noise(shape: tuple[int, ...], generator: torch.Generator) -> UInt8[Tensor, ...]:
    """Uniform bytes; seven per 64-bit draw, since one draw per element costs more than the masked forward's masks."""
    count = 1
    for size in shape:
        count *= size
    words = torch.empty((count + 6) // 7, dtype=torch.int64, device=generator.device).random_(
        generator=generator
    )
    # random_() on int64 leaves the sign bit 0, so the top byte is not uniform.
    return words.view(torch.uint8).view(-1, 8)[:, :7].reshape(-1)[:count].view(shape)
