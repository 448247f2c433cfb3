"""What a low-rank change does when it stands beside a layer, as an adapter does, instead of in its weight."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.lowrank.factors import Factors
from rankone.edits.lowrank.merging import cast_parameters
from rankone.edits.verification import Logits, largest_difference, logits_of


@contextmanager
def beside(model: nn.Module, factors: Mapping[str, Factors]) -> Iterator[set[str]]:
    """The model with write (read x) added to the output of each site; yields the sites that were called so far."""
    called: set[str] = set()

    def hook(name: str) -> Any:
        def add(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
            called.add(name)
            x, pair = given[0], factors[name]
            return output + (x @ pair.read.to(x).T) @ pair.write.to(x).T

        return add

    with ExitStack() as hooks:
        for name in factors:
            hooks.enter_context(model.get_submodule(name).register_forward_hook(hook(name)))
        yield called


def refuse_read_past(
    model: PreTrainedModel,
    factors: Mapping[str, Factors],
    ids: Int[Tensor, "rows length"],
    edited: Logits,
    tolerance: float,
) -> None:
    """Raise where some site's weight is read past its module (`dt_proj` of Mamba), so that an adapter does nothing there.

    edited: fp32 logits of the model with the change in its weights.
    """
    plain = copy.deepcopy(model).eval()
    cast_parameters(plain, edited.dtype)
    with beside(plain, factors) as called:
        logits = logits_of(plain, ids)
    if largest_difference(logits, edited) <= tolerance:
        return
    past = sorted(name for name, pair in factors.items() if pair.write.shape[1] and name not in called)
    if past:
        raise RankOneError(
            f"the weight of '{past[0]}' is read past its module by {type(model).__name__}: an adapter has no effect there "
            f"({len(past)} such sites). Export a checkpoint instead."
        )
