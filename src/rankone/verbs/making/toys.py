"""Toys whose mechanisms are known: toys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rankone.core.fields import Positional, Request
from rankone.opening import Opening
from rankone.recipes import Recipe
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.verbs.making.decomposing import TRAINED
from rankone.verbs.verb import Verb

if TYPE_CHECKING:
    from rankone.decomposition.ground_truth.recipe import ToyRecipe


class ToysRequest(Request):
    """A toy whose mechanisms are known."""

    recipe: Annotated[Recipe, Positional()] = Field(
        description="toy recipe: a YAML file, or one that ships, such as toys/tms-5-2"
    )
    out: Path = Field(description="where to write; must not exist")
    seeds: int = Field(1, gt=0, description="number of seeds, from 0")
    steps: int | None = Field(None, gt=0, description="override the decomposition's steps")


class ToyScore(Reply):
    """How near one site of one seed came to the truth."""

    site: str
    seed: int
    truth: str
    errors: int
    per_feature: float
    alive: int
    read: float | None
    write: float | None
    remainder: float


class ToysReply(Reply):
    """The scores of all seeds."""

    name: str
    scores: tuple[ToyScore, ...]

    def tables(self) -> Sequence[Table]:
        """One row per seed and site."""
        titles = [
            "site",
            "seed",
            "truth",
            "errors",
            "per feature",
            "alive",
            "|cos| v",
            "|cos| u",
            "‖Δ‖²/‖W‖²",
        ]
        caption = "errors: importances over 0.1 from the truth, one feature active at a time"
        rows = [list(score.model_dump().values()) for score in self.scores]
        return (Table.of(f"{self.name} against its truth", titles, rows, caption),)


def _toy(request: ToysRequest) -> ToyRecipe:
    from rankone.decomposition.ground_truth.recipe import ToyRecipe

    return ToyRecipe.from_yaml(request.recipe)


def toys(opening: Opening, request: ToysRequest) -> ToysReply:
    """Decompose a toy whose mechanisms are known and measure how close the decomposition comes to them."""
    from rankone.decomposition.ground_truth.run import run_toys

    config = _toy(request)
    if request.steps is not None:
        shortened = config.decomposition.model_copy(update={"steps": request.steps})
        config = config.model_copy(update={"decomposition": shortened})
    scores = [
        ToyScore(
            truth="one per feature" if row.dense is None else f"dense, {row.dense}",
            **row.model_dump(exclude={"dense"}),
        )
        for row in run_toys(config, request.seeds, request.out, opening.device)
    ]
    return ToysReply(name=request.recipe.stem, scores=tuple(scores))


VERBS = (Verb("toys", ToysRequest, ToysReply, toys, ("device",), without={"dtype": TRAINED}, recipe=_toy),)
