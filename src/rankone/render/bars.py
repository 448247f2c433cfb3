"""Bars of block characters for a terminal."""

from __future__ import annotations

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = " ▁▂▃▄▅▆▇█"


def bar(value: float, largest: float, width: int) -> str:
    """A horizontal bar, `width` cells long for `largest`; anything above 0 shows."""
    share = min(max(value / largest, 0.0), 1.0) if largest > 0 else 0.0
    eighths = max(round(share * width * 8), 1 if value > 0 else 0)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(width)


def level(value: float, largest: float) -> str:
    """One cell filled in proportion, for a column per domain; anything above 0 shows."""
    share = min(max(value / largest, 0.0), 1.0) if largest > 0 else 0.0
    return _LEVELS[max(round(share * 8), 1 if value > 0 else 0)]
