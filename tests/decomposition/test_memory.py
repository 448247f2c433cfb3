"""Out of memory names the knobs; other errors pass as they are."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from tests.decomposition.tiny import recipe

from rankone.decomposition.memory import memory_advice
from rankone.errors import RankOneError


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


def test_freed_memory_is_kept_where_the_c_library_can():
    """A fresh process, since it is for good: once a few rounds are done, large tensors made again cost no page faults."""
    code = (
        "import resource, torch\n"
        "from rankone.decomposition.memory import keep_freed_memory\n"
        "kept = keep_freed_memory()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "x = torch.ones(10_000_000)\n"
        "for _ in range(9):\n    before = faults()\n    ((x + 1) * x - x).sqrt()\n"
        "print(kept, faults() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    assert kept == "False" or int(faults) < 5000  # four times 9,766 pages else
