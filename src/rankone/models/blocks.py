"""The list of transformer blocks a model runs one after the other, and where in it the sites begin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn


class BlockList(NamedTuple):
    """Path of the nn.ModuleList of blocks, and the index of the first one that holds a site."""

    path: str
    first: int


def blocks_of(model: nn.Module, sites: Sequence[str]) -> BlockList | None:
    """The outermost nn.ModuleList above all `sites` (module paths); None where they lie in several.

    That its members run in order is not known here: whoever relies on it has to compare outputs.
    """
    lists = {name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    holders: set[str] = set()
    indices: list[int] = []
    for site in sites:
        parts = site.split(".")
        depth = next((i for i in range(1, len(parts)) if ".".join(parts[:i]) in lists), None)
        if depth is None:
            return None
        holders.add(".".join(parts[:depth]))
        indices.append(int(parts[depth]))
    return BlockList(holders.pop(), min(indices)) if len(holders) == 1 else None
