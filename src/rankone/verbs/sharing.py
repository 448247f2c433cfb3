"""The verb that shares: push."""

from __future__ import annotations

from rankone.opening import Opening
from rankone.sharing.requests import PushReply, PushRequest
from rankone.verbs.verb import Verb


def push(_opening: Opening, request: PushRequest) -> PushReply:
    """Send an artefact to a repository of the Hub, with a card of what was measured; states its size first."""
    from rankone.sharing.pushing import push as send

    return send(request)


VERBS = (
    Verb(
        "push",
        PushRequest,
        PushReply,
        push,
        without=dict.fromkeys(("device", "dtype"), "files are sent, no model runs"),
    ),
)
