"""Decomposing a model: decompose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from rankone.core.errors import RankOneError
from rankone.core.fields import Names, Request, Trackers
from rankone.core.paths import run_directory, typed
from rankone.opening import Opening
from rankone.recipes import Recipe
from rankone.render.reply import Reply
from rankone.verbs.making.sites import estimate
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from rankone.decomposition.config import DecomposeConfig

Storage = Literal["float32", "bfloat16", "int8"]


class DecomposeRequest(Request):
    """A decomposition, by its recipe."""

    recipe: Recipe = Field(
        description="decomposition recipe: a YAML file, or one that ships, such as decompose-mini"
    )
    out: Path = Field(description="where to write; must not exist")
    run: Path | None = Field(None, description="run directory; default OUT.run")
    steps: int | None = Field(None, gt=0, description="override the recipe's steps")
    stop_after: int | None = Field(None, gt=0, description="stop at this step of the recipe, to resume later")
    keep_dead: bool = Field(False, description="do not fold dead subcomponents into delta")
    storage: Storage = Field("bfloat16", description="numbers it is stored in")
    evidence: Literal["none", "small", "full"] = Field(
        "full",
        description="what is measured at the end: nothing, or everything with 20 or 80 steps of the adversary",
    )
    estimate: bool = Field(False, description="print the estimate of memory and time, and stop")
    sweep: bool = Field(
        False, description="five short runs over the importance coefficient; OUT is their frontier"
    )
    track: Annotated[Names, Trackers()] = Field(
        (), description="also log to these, beside the run's metrics.jsonl: tensorboard, wandb"
    )


class DecomposeReply(Reply):
    """What a run of `decompose` came to: an estimate, a checkpoint to go on from, a frontier, or a decomposition.

    tables: the estimate, the frontier, or the evidence.
    """

    out: Path
    state: Literal["estimated", "stopped", "swept", "finished"]
    run: Path
    evidence: Path | None = None

    def lines(self) -> Sequence[str]:
        """How to go on from a checkpoint."""
        if self.state == "stopped":
            return (f"stopped in '{self.run}'; the same command without --stop-after goes on from there",)
        if self.state == "finished" and self.evidence is None:
            return (f"saved {self.out}; how good it is was not measured: rankone evidence {typed(self.out)}",)
        return ()


def _decomposing(request: DecomposeRequest) -> DecomposeConfig:
    from rankone.decomposition.config import DecomposeConfig

    return DecomposeConfig.from_yaml(request.recipe, steps=request.steps)


def decompose(opening: Opening, request: DecomposeRequest) -> DecomposeReply:
    """Decompose a model into rank-one subcomponents with causal importances; resumes after a kill.

    Under torchrun the processes share the work.
    """
    from rankone.core.artifact import refuse_existing
    from rankone.decomposition.sweep import SHORTER
    from rankone.models.loading import load_skeleton
    from rankone.runtime.distributed import current, joined

    with joined():
        config = _decomposing(request)
        if request.sweep and request.steps is None:
            config = config.model_copy(update={"steps": max(1, config.steps // SHORTER)})
        folder = request.run or run_directory(request.out)
        if request.estimate:
            reply = DecomposeReply(out=request.out, state="estimated", run=folder)
            return reply.showing(*estimate(load_skeleton(opening.options.model), config))
        current().on_first(lambda: refuse_existing(request.out))
        fixed = (request.storage, request.evidence) != ("bfloat16", "full")
        if request.sweep and (request.keep_dead or request.stop_after or fixed):
            raise RankOneError(
                "--sweep runs to the end, folds the dead, stores bfloat16 and measures: leave --stop-after, --keep-dead, "
                "--storage and --evidence out."
            )
        return _decompose(opening, request, config, folder)


def _decompose(
    opening: Opening, request: DecomposeRequest, config: DecomposeConfig, folder: Path
) -> DecomposeReply:
    from rankone.core.artifact import open_artifact
    from rankone.decomposition.evidence.records import evidence_of
    from rankone.decomposition.evidence.tables import evidence_tables
    from rankone.decomposition.frontier import sweep_table
    from rankone.decomposition.planning.memory import memory_advice
    from rankone.decomposition.run import LADDERS
    from rankone.decomposition.run import decompose as run_decompose
    from rankone.decomposition.sweep import sweep
    from rankone.render.terminal import announce
    from rankone.runtime.tracking.recording import Tracking

    with memory_advice(config):
        target = opening.model
    announce(estimate(target, config))
    if request.sweep:
        points = sweep(config, opening.bare, folder, request.out, request.track)
        reply = DecomposeReply(out=request.out, state="swept", run=folder)
        return reply.showing(sweep_table(points, request.out))
    made = run_decompose(
        config,
        opening.bare,
        folder,
        request.out,
        request.stop_after,
        not request.keep_dead,
        request.storage,
        LADDERS[request.evidence],
        Tracking(trackers=request.track, name=request.out.name),
    )
    if made is None:
        return DecomposeReply(out=request.out, state="stopped", run=folder)
    if request.evidence == "none":
        return DecomposeReply(out=request.out, state="finished", run=folder)
    evidence = request.out / "evidence.json"
    reply = DecomposeReply(out=request.out, state="finished", run=folder, evidence=evidence)
    return reply.showing(*evidence_tables(evidence_of(open_artifact(request.out)), str(request.out)))


TRAINED = (
    "V, U and Δ are trained in float32, so that V U + Δ stays W; the recipe's `autocast` says what the forwards "
    "compute in"
)

VERBS = (
    Verb(
        "decompose",
        DecomposeRequest,
        DecomposeReply,
        decompose,
        ("model", "text", "device"),
        first="model",
        needs=("model", "text"),
        without={"dtype": TRAINED},
        recipe=_decomposing,
    ),
)
