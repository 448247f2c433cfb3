"""Clipping of a step's gradients by their norm, which has to be finite."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from rankone.core.errors import RankOneError
from rankone.decomposition.model import Decomposition
from rankone.decomposition.parallel.gathered import gathered
from rankone.decomposition.training.faults import gradient_fault, not_finite
from rankone.runtime.distributed import Ranks


def clip(
    decomposition: Decomposition, parameters: Sequence[nn.Parameter], most: float, ranks: Ranks, step: int
) -> None:
    """Scale the gradients of some of a decomposition's parameters down to a norm of `most`.

    RankOneError that names the site where the norm is not finite, before that reaches a parameter.
    """
    norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
    if not math.isfinite(gathered(norm).item()):
        raise RankOneError(not_finite(["the gradient"], step, gradient_fault(decomposition, ranks)))
    clip_grads_with_norm_(parameters, most, norm)
