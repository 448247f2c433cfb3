"""What methods and domains are called and how they look in figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from rankone.core.escaping import visible
from rankone.edits.methods.registry import kinds
from rankone.render.colours import PALETTE
from rankone.render.theme import MARKERS
from rankone.text.domains import domain_name

DOMAIN_SLOTS = {
    **{"de": 0, "en": 1, "fr": 2, "es": 3, "it": 4, "nl": 5, "sv": 7, "code": 6},
    **{"pt": 3, "ru": 4, "pl": 7, "da": 5, "ja": 2, "zh": 6},
}
"""Place in the palette of the domains that pages show most."""


def method_name(method: str) -> str:
    """How a method is called in figures and tables."""
    return kinds()[method].title if method in kinds() else visible(method)


def method_order(methods: Sequence[str]) -> list[str]:
    """Known methods in their fixed order, then the others as they come."""
    unique = list(dict.fromkeys(methods))
    return [m for m in kinds() if m in unique] + [m for m in unique if m not in kinds()]


def method_styles(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker per method, no two alike.

    A known method looks the same in every figure, unless one before it has them there: then it gets the next free ones,
    and where all colours are taken one of them with another marker.
    """
    ordered = method_order(methods)
    others = [m for m in ordered if m not in kinds()]
    slots = {m: kind.slot for m, kind in kinds().items()} | {m: 5 + i for i, m in enumerate(others)}
    count = len(MARKERS)
    looks: dict[str, tuple[str, str]] = {}
    for spare in (False, True):
        for method in (m for m in ordered if m not in looks):
            first = slots[method]
            turns = product(range(count), repeat=2) if spare else [(0, 0)]
            pairs = ((PALETTE[(first + i) % count], MARKERS[(first + i + j) % count]) for j, i in turns)
            if (free := next((pair for pair in pairs if pair not in looks.values()), None)) is not None:
                looks[method] = free
    return {method: looks[method] for method in ordered}


def domain_names(domains: Sequence[str]) -> str:
    """Several domains by their names."""
    return ", ".join(map(domain_name, domains))


def domain_colours(domains: Sequence[str]) -> dict[str, str]:
    """Colour per domain: the same in every figure and on every page for the known ones, as long as there are colours.

    A domain whose colour is taken by one before it, or that is not known, gets the first one free.
    """
    colours: dict[str, str] = {}
    known = [d for d in domains if d in DOMAIN_SLOTS]
    for domain in [*known, *(d for d in domains if d not in DOMAIN_SLOTS)]:
        start = DOMAIN_SLOTS.get(domain, 0)
        slots = [PALETTE[(start + i) % len(PALETTE)] for i in range(len(PALETTE))]
        colours[domain] = next((colour for colour in slots if colour not in colours.values()), slots[0])
    return colours
