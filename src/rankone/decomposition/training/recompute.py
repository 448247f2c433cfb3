"""Activation checkpointing: blocks keep their inputs for the backward alone, and run a second time in it.

Masks come from outside, so a block's second run puts those of its first in force.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from rankone.core.errors import RankOneError
from rankone.decomposition.masking.masking import MaskingInForce
from rankone.decomposition.model import DecomposedModel
from rankone.decomposition.parallel.sharding import stacked
from rankone.models.blocks import blocks_of
from rankone.models.modules import StandIn, replaced

# No block draws random numbers: targets run without dropout.
again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)


class RecomputedBlock(StandIn):
    """Stands for a block of the target whose activations are computed again in the backward."""

    def __init__(self, base: nn.Module, in_force: MaskingInForce) -> None:
        super().__init__(base)
        self._in_force = in_force

    def forward(self, *args: object, **kwargs: object) -> object:
        """The block's output."""
        if not torch.is_grad_enabled():
            return self.base(*args, **kwargs)
        now, runs = self._in_force.now, 0
        # Inputs and outputs are left by the first run alone.
        later = None if now is None else replace(now, inputs=None, outputs=None)

        def run(*args: object, **kwargs: object) -> object:
            nonlocal runs
            runs += 1
            with nullcontext() if runs == 1 else self._in_force.put(later):
                return self.base(*args, **kwargs)

        return again(run, *args, **kwargs)  # pyright: ignore[reportArgumentType]


@contextmanager
def recomputed(model: DecomposedModel) -> Iterator[None]:
    """Checkpoint the blocks of a target whose sites are in place, and the layers of its importance function."""
    blocks = blocks_of(model.target, model.decomposition.sites)
    if blocks is None:
        raise RankOneError(
            "machine.activation_checkpointing works on a list of blocks, and the sites lie in none, or in several. "
            "Leave it out."
        )
    count = len(model.target.get_submodule(blocks.path))  # pyright: ignore[reportArgumentType]
    paths = [f"{blocks.path}.{i}" for i in range(blocks.first, count)]
    placed = {path: RecomputedBlock(model.target.get_submodule(path), model.in_force) for path in paths}
    layers = list(stacked(model.decomposition.importance))
    try:
        for layer in layers:
            layer.forward = partial(again, layer.forward)  # pyright: ignore[reportAttributeAccessIssue]
        with replaced(model.target, placed):
            yield
    finally:
        for layer in layers:
            del layer.forward
