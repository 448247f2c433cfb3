"""How much memory this process has taken, on every system that reports it."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


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


def available_bytes(device: torch.device) -> float | None:
    """Free memory of the device; None where nothing reports it."""
    if device.type == "cuda":
        import torch

        return float(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            return next((float(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line), None)
    except OSError:
        return None
