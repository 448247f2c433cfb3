"""Random numbers of our own: whatever PyTorch's initialisers draw leaves the caller's generator as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int | None = None) -> Iterator[None]:
    """PyTorch's CPU generator starts at `seed` (None: goes on) for the block, and is put back after it.

    Layers are initialised on the CPU, so the generators of GPUs are not touched.
    """
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
        yield
