"""Exchanging modules of a model for others by their paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn


class StandIn(nn.Module):
    """Takes the place of `base`, and answers as it does what a model asks of a block (its attention type, its index)."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def __getattr__(self, name: str) -> Any:
        """An attribute of the stand-in, or else of its base."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("base"), name)


def replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` where the module path `name` points."""
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)


@contextmanager
def replaced(model: nn.Module, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Put `modules` (by module path) in place while the block runs; the originals come back whatever happens."""
    originals = {name: model.get_submodule(name) for name in modules}
    try:
        for name, module in modules.items():
            replace_module(model, name, module)
        yield
    finally:
        for name, original in originals.items():
            replace_module(model, name, original)
