"""How much memory this process has taken, on every system that reports it."""

from __future__ import annotations

import sys
from importlib import import_module


def peak_bytes() -> int | None:
    """The most resident memory of this process so far, in bytes; None on systems without `resource` (Windows)."""
    try:
        resource = import_module("resource")
    except ImportError:
        return None
    peak = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peak if sys.platform == "darwin" else peak * 1024


def peak_megabytes() -> int | None:
    """`peak_bytes` in MiB, rounded."""
    peak = peak_bytes()
    return None if peak is None else round(peak / 2**20)
