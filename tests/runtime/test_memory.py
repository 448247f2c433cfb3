"""The memory that a process has taken: of the right size, and absent where the system does not tell."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rankone.runtime.memory import peak_bytes, peak_megabytes

STATUS = Path("/proc/self/status")


@pytest.mark.skipif(not STATUS.is_file(), reason="needs another witness of this process's memory")
def test_the_unit_is_bytes():
    """Linux tells the same, in kB, in a file."""
    held = next(line for line in STATUS.read_text("ascii").splitlines() if line.startswith("VmHWM"))
    own, peak = int(held.split()[1]) * 1024, peak_bytes()
    assert peak is not None
    assert 0.9 * own < peak < 10 * own  # on exec a process inherits the peak of its parent
    assert peak_megabytes() == round(peak / 2**20)


def test_without_resource_nothing_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_bytes() is None
    assert peak_megabytes() is None
