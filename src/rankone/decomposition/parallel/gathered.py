"""A parameter that processes share, whole."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor, Partial


def gathered(parameter: Tensor) -> Tensor:
    """All of a parameter, whichever process holds it; in the backward, gradients of all processes are summed.

    Every process has to call it for the same parameters in the same order.
    """
    return parameter.full_tensor(grad_placements=[Partial()]) if isinstance(parameter, DTensor) else parameter
