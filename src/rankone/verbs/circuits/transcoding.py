"""Verbs of transcoders: transcoders-train, transcoders-compare (on the command line also as two words)."""

from __future__ import annotations

from rankone.circuits.transcoders.config import read_recipe
from rankone.circuits.transcoders.requests import (
    CompareTranscodersReply,
    CompareTranscodersRequest,
    TrainedRow,
    TrainTranscodersReply,
    TrainTranscodersRequest,
)
from rankone.core.errors import RankOneError
from rankone.core.paths import run_directory
from rankone.opening import Opening
from rankone.verbs.verb import Verb


def transcoders_train(opening: Opening, request: TrainTranscodersRequest) -> TrainTranscodersReply:
    """Train transcoders, sparse stand-ins for a model's MLPs, side by side on the same tokens; resumes after a kill."""
    from rankone.circuits.transcoders.storage import save_transcoders
    from rankone.circuits.transcoders.training import train

    config = read_recipe(request.recipe)
    domains = request.domains or tuple(opening.corpus.domains())
    mlps, trained = train(opening.bare, domains, config, request.run or run_directory(request.out))
    save_transcoders(trained, mlps, opening.model, config, domains, request.out)
    return TrainTranscodersReply(
        out=request.out,
        tokens=config.steps * config.batch,
        text=trained[0].text,
        rows=tuple(
            TrainedRow(
                name=one.coder.config.name,
                unexplained_at_half=one.unexplained[0],
                unexplained=one.unexplained[1],
                dead=one.dead,
            )
            for one in trained
        ),
    )


def transcoders_compare(opening: Opening, request: CompareTranscodersRequest) -> CompareTranscodersReply:
    """Compare transcoders, neurons and a decomposition: what replacing the MLPs by each costs, on test text."""
    from rankone.circuits.transcoders.judging.comparing import compare
    from rankone.circuits.transcoders.storage import load_transcoders

    unused = request.changed("levels", "attack") if opening.decomposition_name is None else []
    if unused:
        raise RankOneError(f"{unused[0]} is of a decomposition, and none is open: leave it out, or open one.")
    saved, coders = load_transcoders(request.transcoders, opening.model)
    domains = request.domains or tuple(opening.corpus.domains())
    parts = opening.decomposition if opening.decomposition_name is not None else None
    return compare(opening.bare, parts, saved, coders, domains, request).written_to(request.out)


VERBS = (
    Verb(
        "transcoders-train",
        TrainTranscodersRequest,
        TrainTranscodersReply,
        transcoders_train,
        ("model", "text", "device", "dtype"),
        first="model",
        writes=("out",),
        recipe=lambda request: read_recipe(request.recipe),
    ),
    Verb(
        "transcoders-compare",
        CompareTranscodersRequest,
        CompareTranscodersReply,
        transcoders_compare,
        ("model", "decomposition", "text", "device", "dtype"),
        writes=("out",),
    ),
)
