"""Activation checkpointing: blocks keep their inputs for the backward alone, and run a second time in it.

The masks of a site are set from outside, so a block's second run sets those of its first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from rankone.core.errors import RankOneError
from rankone.decomposition.model import DecomposedModel
from rankone.decomposition.parallel.sharding import stacked
from rankone.decomposition.site import DecomposedSite
from rankone.models.blocks import blocks_of
from rankone.models.modules import StandIn, replaced

# No block draws random numbers: targets run without dropout.
again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
_SET = ("mask", "delta", "route", "grid", "keep_output")


class RecomputedBlock(StandIn):
    """Stands for a block of the target whose activations are computed again in the backward."""

    def __init__(self, base: nn.Module, sites: Sequence[DecomposedSite]) -> None:
        super().__init__(base)
        self._sites = list(sites)

    def forward(self, *args: object, **kwargs: object) -> object:
        """The block's output."""
        if not torch.is_grad_enabled():
            return self.base(*args, **kwargs)
        first = [{name: getattr(site, name) for name in _SET} for site in self._sites]
        runs = 0

        def run(*args: object, **kwargs: object) -> object:
            nonlocal runs
            runs += 1
            if runs == 1:
                return self.base(*args, **kwargs)
            with _settings(self._sites, [settings | {"keep_output": False} for settings in first]):
                return self.base(*args, **kwargs)

        return again(run, *args, **kwargs)  # pyright: ignore[reportArgumentType]


@contextmanager
def _settings(sites: Sequence[DecomposedSite], wanted: Sequence[Mapping[str, object]]) -> Iterator[None]:
    """Sites as they were in a block's first run; what they are now comes back whatever happens."""
    now = [{name: getattr(site, name) for name in _SET} for site in sites]
    _put(sites, wanted)
    try:
        yield
    finally:
        _put(sites, now)


def _put(sites: Sequence[DecomposedSite], values: Sequence[Mapping[str, object]]) -> None:
    for site, settings in zip(sites, values, strict=True):
        for name, value in settings.items():
            setattr(site, name, value)


@contextmanager
def recomputed(model: DecomposedModel) -> Iterator[None]:
    """Checkpoint the blocks of a target whose sites are in place, and the layers of its importance function."""
    names = model.decomposition.sites
    blocks = blocks_of(model.target, names)
    if blocks is None:
        raise RankOneError(
            "machine.activation_checkpointing works on a list of blocks, and the sites lie in none, or in several. "
            "Leave it out."
        )
    count = len(model.target.get_submodule(blocks.path))  # pyright: ignore[reportArgumentType]
    placed = {}
    for path in (f"{blocks.path}.{i}" for i in range(blocks.first, count)):
        inside = [m for name, m in zip(names, model.modules, strict=True) if name.startswith(f"{path}.")]
        placed[path] = RecomputedBlock(model.target.get_submodule(path), inside)
    layers = list(stacked(model.decomposition.importance))
    try:
        for layer in layers:
            layer.forward = partial(again, layer.forward)  # pyright: ignore[reportAttributeAccessIssue]
        with replaced(model.target, placed):
            yield
    finally:
        for layer in layers:
            del layer.forward
