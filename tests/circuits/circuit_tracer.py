"""circuit-tracer itself, without what it needs to run models: its loader of transcoders, its file format and its viewer.

`pip download circuit-tracer` brings the wheel; nothing of it is installed. Its files are those of the repository that it
was forked from (decoderesearch/circuit-tracer), which is in no registry.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

VERSION = "0.5.0"


def circuit_tracer(folder: Path) -> Path:
    """A folder to put on the path; the test is skipped where there is no index to have it from."""
    wanted = [f"circuit-tracer=={VERSION}", "--no-deps", "--dest", str(folder)]
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *wanted]
    brought = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    if brought.returncode:
        pytest.skip(f"pip has no circuit-tracer {VERSION}: {brought.stderr.strip()[-200:]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "wheel")
    return folder / "wheel"
