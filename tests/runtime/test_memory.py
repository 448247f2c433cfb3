"""The memory that a process has taken: of the right size, and absent where the system does not tell."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rankone.runtime.memory import peak_bytes, peak_megabytes

TAKE = """
from rankone.runtime.memory import peak_bytes
before = peak_bytes()
held = bytearray(b"x") * (200 * 2**20)
print(peak_bytes() - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_the_unit_is_bytes():
    done = subprocess.run([sys.executable, "-c", TAKE], capture_output=True, text=True, check=True)
    assert 190 * 2**20 < int(done.stdout) < 250 * 2**20


def test_without_resource_nothing_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_bytes() is None
    assert peak_megabytes() is None
