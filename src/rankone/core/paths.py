"""Where things that belong together lie."""

from __future__ import annotations

from pathlib import Path


def run_directory(out: Path) -> Path:
    """Where the run that makes `out` keeps what it needs to go on: beside it, as `out.run`."""
    return out.with_name(out.name + ".run")
