"""Code in a fresh interpreter in which some packages cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# First in code that imports PyTorch and ends soon after: a third of its time goes into searches for cycles.
UNSEARCHED = "import atexit, gc; gc.disable(); atexit.register(gc.freeze)\n"
BLOCKED = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {names!r}:
            return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def run(code: str, blocked: tuple[str, ...], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter in which some libraries cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", UNSEARCHED + BLOCKED.format(names=blocked) + code],
        capture_output=True,
        text=True,
        cwd=folder,
    )
