"""How a part is named, and what is said of a name that is none: ORIGIN/SITE:NUMBER. Importable without PyTorch."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

from rankone.core.errors import RankOneError, nearest
from rankone.parts.origins import origin_in

_EXAMPLE = "h.3.mlp.down_proj:270"


def site_key(site: str) -> str:
    """Site name as a parameter key: dots become dashes, as in the published checkpoints."""
    return site.replace(".", "-")


def numbers_key(site: str, origin: str = "") -> str:
    """Under which key an artefact keeps the numbers of a site's columns; `origin`: of one that holds several sets."""
    return f"indices.{f'{origin}.' * bool(origin)}{site_key(site)}"


def require_written(name: str) -> tuple[str, int]:
    """(site, number) that a part's name states; RankOneError for what is not written as a name."""
    origin = origin_in(name)
    prefix = f"{origin}/" * bool(origin)
    site, colon, number = name.removeprefix(prefix).rpartition(":")
    mend = f"a part is SITE:NUMBER, as {prefix}{_EXAMPLE}."
    if not colon:
        raise RankOneError(f"'{name}' has no number: {mend}")
    if not site:
        raise RankOneError(f"'{name}' names no site: {mend}")
    if not (number.isascii() and number.isdecimal()):
        raise RankOneError(f"'{name}' ends in '{number}', which is not a number from 0 up: {mend}")
    if number != str(int(number)):
        raise RankOneError(f"'{name}' ends in '{number}': write {prefix}{site}:{int(number)}.")
    return site, int(number)


def located(
    name: str, origin: str, sites: Sequence[str], numbers: Callable[[str], Sequence[int]]
) -> tuple[str, int]:
    """(site, column) of a part in a set of one origin, by the numbers of each site's columns; RankOneError, which offers
    others, for a part that the set does not have."""
    prefix = f"{origin}/" * bool(origin)
    place, _, number = name.removeprefix(prefix).rpartition(":")
    if place not in sites:
        raise RankOneError(
            f"unknown site in '{name}': write SITE:NUMBER, as {prefix}h.3.attn.v_proj:513."
            + nearest(place or name, list(sites))
        )
    known = list(numbers(place))
    if not number.isdecimal() or int(number) not in known:
        near = ", ".join(f"{prefix}{place}:{n}" for n in _near(known, number))
        what = "part" if origin else "subcomponent"
        raise RankOneError(
            f"unknown {what} '{name}': '{place}' keeps {len(known)} {what}s."
            + (f" Nearest: {near}." if near else "")
        )
    return place, known.index(int(number))


def _near(known: list[int], number: str) -> list[int]:
    if not number.isdecimal():
        return known[:3]
    at = bisect.bisect_left(known, int(number))
    return known[max(0, at - 1) : at + 2] or known[-3:]
