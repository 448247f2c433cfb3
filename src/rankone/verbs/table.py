"""The one table of verbs, in the order in which a user meets them; a new verb is listed in its theme's file."""

from __future__ import annotations

from typing import Any

from rankone.core.errors import RankOneError, nearest
from rankone.verbs import (
    checking,
    editing,
    examining,
    finding,
    harvesting,
    labelling,
    making,
    measuring,
    reading,
)
from rankone.verbs.verb import Verb

THEMES = (making, examining, harvesting, labelling, reading, finding, editing, measuring, checking)
VERBS: dict[str, Verb[Any, Any]] = {verb.name: verb for theme in THEMES for verb in theme.VERBS}


def verb_named(name: str) -> Verb[Any, Any]:
    """The verb of that name; RankOneError that offers the nearest."""
    if name not in VERBS:
        raise RankOneError(f"unknown verb '{name}'.{nearest(name, list(VERBS))}")
    return VERBS[name]
