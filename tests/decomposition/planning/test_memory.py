"""Out of memory names the knobs; other errors pass as they are."""

from __future__ import annotations

import pytest
import torch
from tests.decomposition.tiny import recipe

from rankone.core.errors import RankOneError
from rankone.decomposition.planning.memory import memory_advice


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        ),
        MemoryError(),
    ],
)
def test_the_knobs_are_named(error):
    with (
        pytest.raises(
            RankOneError, match=r"out of memory .*accumulation 2 \(now 1\), .*rows \(4\) or context \(7\)"
        ),
        memory_advice(recipe()),
    ):
        raise error


def test_a_real_allocation_that_fails_is_caught():
    with pytest.raises(RankOneError, match="out of memory"), memory_advice(recipe()):
        torch.empty(1 << 60, dtype=torch.float32)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shape"), memory_advice(recipe()):
        raise RuntimeError("shape")
