"""Memory that was freed is given back to the system while nothing is asked of the worker."""

from __future__ import annotations

import ctypes

# Seconds without a job after which it is worth the milliseconds that it takes.
IDLE = 2.0


def give_back() -> None:
    """Have the C library return what it holds free; it would keep it for the next tensors. Nothing where it cannot."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
