"""Exchanging modules of a model for others by their paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn


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
