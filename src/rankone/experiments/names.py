"""What methods and domains are called and how they look in figures and tables."""

from __future__ import annotations

from collections.abc import Sequence

from rankone.core.escaping import visible
from rankone.render.theme import MARKERS, PALETTE

METHODS = {
    "scalar": ("one scalar", 0),
    "top16": ("top-16 scalars", 3),
    "lora_r1": ("LoRA rank 1", 1),
    "lora_r1_local": ("LoRA rank 1, one matrix", 2),
}


def method_name(method: str) -> str:
    """How a method is called in figures and tables."""
    return METHODS[method][0] if method in METHODS else visible(method)


def method_order(methods: Sequence[str]) -> list[str]:
    """Known methods in their fixed order, then the others as they come."""
    unique = list(dict.fromkeys(methods))
    return [m for m in METHODS if m in unique] + [m for m in unique if m not in METHODS]


def method_styles(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker per method; known methods always look the same."""
    others = [m for m in method_order(methods) if m not in METHODS]
    slots = {m: slot for m, (_, slot) in METHODS.items()} | {m: 4 + i for i, m in enumerate(others)}
    return {m: (PALETTE[slots[m] % 8], MARKERS[slots[m] % 8]) for m in method_order(methods)}


def domain_colours(domains: Sequence[str]) -> dict[str, str]:
    """Colour per domain, the forget domain first (vermilion), the retain domain second (blue)."""
    return {domain: PALETTE[i % len(PALETTE)] for i, domain in enumerate(domains)}
