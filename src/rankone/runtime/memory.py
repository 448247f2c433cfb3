"""How much memory this process has taken, on every system that reports it; what of it garbage collection skips."""

from __future__ import annotations

import atexit
import gc
import sys
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# How many new modules are a library.
_LIBRARY = 100


@cache
def spare_imported() -> None:
    """From now on garbage collection skips what was imported, also at the program's end.

    PyTorch and transformers are half a million objects that stay: going through them takes a fourth of a short command. For
    programs, at their start, never on import. What is made after the imports is collected as ever.
    """
    known = len(sys.modules)

    def set_aside(event: str, _: tuple[object, ...]) -> None:
        nonlocal known
        if event == "import" and len(sys.modules) >= known + _LIBRARY:
            known = len(sys.modules)
            gc.freeze()

    def end() -> None:
        """DuckDB reports on standard error as leaked what a collection at the end would still have found of it."""
        (gc.unfreeze if "duckdb" in sys.modules else gc.freeze)()

    # Not gc.callbacks: a Ctrl-C that comes while one runs is lost, here it ends the import.
    sys.addaudithook(set_aside)
    atexit.register(end)


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
