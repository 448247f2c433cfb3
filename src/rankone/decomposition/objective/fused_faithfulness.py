"""The squared remainder ‖W − (V U)ᵀ‖² of one site, whose gradients are two products instead of autograd's chain.

With D = Wᵀ − V U: ∂‖D‖²/∂V = −2 D Uᵀ and ∂‖D‖²/∂U = −2 Vᵀ D. D is formed in fp32, where it is the small difference of
large numbers; D itself may then be multiplied in less precision, as every other gradient of V and U is under autocast.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


class _SquaredRemainder(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, read: Tensor, write: Tensor, dtype: torch.dtype) -> Tensor:
        remainder = torch.addmm(weight.T, read, write, alpha=-1)
        ctx.save_for_backward(remainder.to(dtype), read, write)
        return torch.linalg.vector_norm(remainder).square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        remainder, read, write = ctx.saved_tensors
        dtype, factor = remainder.dtype, -2 * grad
        to_read = (remainder @ write.T.to(dtype)).to(read.dtype).mul_(factor)
        to_write = (read.T.to(dtype) @ remainder).to(write.dtype).mul_(factor)
        return None, to_read, to_write, None


def squared_remainder(
    weight: Float[Tensor, "d_out d_in"],
    read: Float[Tensor, "d_in c"],
    write: Float[Tensor, "c d_out"],
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, ""]:
    """‖W − (V U)ᵀ‖²_F; gradients of V and U from products in `dtype`."""
    return _SquaredRemainder.apply(weight, read, write, dtype)  # pyright: ignore[reportReturnType]
