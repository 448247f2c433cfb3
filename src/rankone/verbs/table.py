"""The one table of verbs, in the order in which a user needs them; a new verb is listed in its theme's file."""

from __future__ import annotations

from typing import cast

from rankone.core.errors import RankOneError, nearest
from rankone.core.fields import Request
from rankone.render.reply import Reply
from rankone.verbs import (
    adapting,
    benchmarking,
    checking,
    editing,
    examining,
    finding,
    harvesting,
    labelling,
    measuring,
    reading,
    sharing,
)
from rankone.verbs.circuits import relating, tracing, transcoding
from rankone.verbs.making import decomposing, importing, pretraining, sites, toys
from rankone.verbs.verb import Verb

THEMES = (
    pretraining,
    sites,
    decomposing,
    importing,
    toys,
    examining,
    harvesting,
    labelling,
    reading,
    finding,
    tracing,
    relating,
    transcoding,
    editing,
    adapting,
    sharing,
    measuring,
    benchmarking,
    checking,
)
# Of which kind a verb's request is, its own model says: what is asked by name is checked by that (Verb.request).
VERBS = {verb.name: cast("Verb[Request, Reply]", verb) for theme in THEMES for verb in theme.VERBS}


def verb_named(name: str) -> Verb[Request, Reply]:
    """The verb of that name; RankOneError that offers the nearest."""
    if name not in VERBS:
        raise RankOneError(f"unknown verb '{name}'.{nearest(name, list(VERBS))}")
    return VERBS[name]
