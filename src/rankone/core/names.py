"""A list of names, as it is given in Python or on the command line."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator


def _listed(given: object) -> object:
    """The parts of `a,b`, without repeats; a list of names as it is."""
    words = given.split(",") if isinstance(given, str) else given
    if not isinstance(words, list | tuple):
        return given
    return tuple(dict.fromkeys(w.strip() if isinstance(w, str) else w for w in words))


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""Names in Python as a list or one string, on the command line with commas between them."""
