"""How a harvest is labelled, and what an artefact of labels says of its making."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field

from rankone.core.config import Config
from rankone.core.fields import OnlyWith
from rankone.harvest.config import FIRING
from rankone.labels.model.budget import Budget, Caps
from rankone.labels.model.server import Server


class LabelDials(Config):
    """What can be asked of a labelling; limit: None for all that fire."""

    limit: int | None = Field(default=None, ge=1, description="labels by the model, most frequent first")
    score: bool = Field(default=False, description="also score the labels")
    judged: Annotated[int, OnlyWith("score")] = Field(
        default=50, ge=0, description="with --score: labels the model judges"
    )


class LabelSettings(LabelDials):
    """How a harvest is labelled; threshold: importance above which a token fires, as in the harvest."""

    threshold: float = Field(default=FIRING, ge=0, le=1)


class Used(Config):
    """What the model's server was asked for, and its price."""

    tokens_in: int
    tokens_out: int
    cost: float

    @classmethod
    def of(cls, budget: Budget) -> Self:
        """What a budget has been charged with."""
        tokens_in, tokens_out = budget.used
        return cls(tokens_in=tokens_in, tokens_out=tokens_out, cost=budget.cost)


class LabelCounts(Config):
    """Labels by who wrote them."""

    statistical: int
    model: int


class Shortfall(Config):
    """Requests without an answer. capped: not sent, as the cap was reached."""

    failed: int
    capped: int


class LabelsRecord(Config):
    """The config of an artefact of labels; without a server, `server`, `caps` and `used` are None."""

    settings: LabelSettings
    server: Server | None
    caps: Caps | None
    used: Used | None
    labelled: LabelCounts
    unanswered: Shortfall
