"""What recipes say of adversaries, by `kind`: a new one is a class here, in the union below, and a file beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from rankone.core.config import Config
from rankone.core.schedule import Schedule


class SourceConfig(Config, ABC):
    """What all adversaries have in common."""

    scope: Literal["bsc", "sc", "bc", "c"] = Field(
        default="bc", description="which of batch slot (b) and position (s) have sources of their own"
    )
    sources: int | None = Field(
        default=None,
        ge=1,
        description="scopes with b: number of sources along the batch, slots take turns; None is one a slot",
    )
    segments: int = Field(
        default=1, ge=1, description="scope bc: parts of a row, of equal length, each with a slot of its own"
    )
    fraction: float = Field(
        default=0.5, ge=0, le=1, description="share of adversarial rows (merged form only)"
    )

    @abstractmethod
    def searches(self, merged: bool) -> int:
        """Number of ascents, a forward and a backward each, before the pass of a step."""

    def owners(self, rows: int) -> int:
        """Number of sources along the batch."""
        return min(self.sources or rows, rows) if "b" in self.scope else 1

    @model_validator(mode="after")
    def _shares_slots(self) -> SourceConfig:
        if self.sources is not None and "b" not in self.scope:
            raise ValueError(f"scope '{self.scope}' has one source for the whole batch: leave `sources` out")
        if self.segments > 1 and self.scope != "bc":
            raise ValueError(f"scope '{self.scope}' does not split rows: `segments` goes with scope bc alone")
        return self


class PersistentConfig(SourceConfig):
    """Persistent sources that ascend the reconstruction loss."""

    kind: Literal["persistent"] = "persistent"
    pool: int = Field(
        default=1, ge=1, description="sources per slot (or shared by all), one drawn at each step"
    )
    learning_rate: Schedule = Schedule(start=0.05, warmup=0.025)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    beta2: float = Field(default=0.99, ge=0, lt=1)
    extra_ascents: int = Field(default=2, ge=0, description="ascents before each step (separate form only)")
    lifetime: float | None = Field(
        default=None, ge=1, description="mean ascents after which a source is drawn anew; None is never"
    )

    def searches(self, merged: bool) -> int:
        """The merged form has its one pass alone."""
        return 0 if merged else self.extra_ascents


class FreshConfig(SourceConfig):
    """Sources that are found anew at every step; each of the `steps` costs a forward and a backward of the batch."""

    kind: Literal["fresh"]
    steps: int = Field(default=2, ge=0, description="ascents before each step")
    step_size: float = Field(default=0.5, gt=0, description="length of an ascent in every channel")

    def searches(self, merged: bool) -> int:
        """All of its steps, in either form."""
        del merged
        return self.steps


DEFAULT = "persistent"  # of recipes that do not say


def _kind(value: object) -> str | None:
    return value.get("kind", DEFAULT) if isinstance(value, dict) else getattr(value, "kind", None)


AdversaryConfig = Annotated[
    Annotated[PersistentConfig, Tag("persistent")] | Annotated[FreshConfig, Tag("fresh")],
    Discriminator(_kind),
]
