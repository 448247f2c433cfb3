"""What a projection is asked and answers; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from rankone.core.config import Record
from rankone.core.errors import RankOneError
from rankone.core.fields import EachOf, Folder, Names, Positional, Request
from rankone.metrics.damage_record import DomainDamage, interval_said
from rankone.parts.origins import COUNTED, FROM_TEXT, FROM_WEIGHTS
from rankone.render.reply import Reply
from rankone.render.tables import Table


class ProjectRequest(Request):
    """A fine-tune to be read as scales of parts."""

    adapter: Annotated[
        Path, Positional(), Folder("a LoRA that PEFT saved, or a saved edit", kind="adapter")
    ] = Field(description="PEFT LoRA, a folder or on the Hub, or a saved edit")
    sources: Annotated[Names, EachOf("source", (*FROM_WEIGHTS, *FROM_TEXT))] = Field(
        (), description="parts derived from the weights to add: neuron, channel, singular, random"
    )
    count: int = Field(16, gt=0, description="parts per site, of sources that can make any number")
    norm: Literal["frobenius", "text"] = Field(
        "frobenius", description="what is minimised: the error of the weights, or of the outputs on --text"
    )
    keep: int | None = Field(None, gt=0, description="at most this many parts, chosen greedily; default all")
    top: int = Field(20, gt=0, description="parts to show")
    tokens: int = Field(400, gt=0, description="tokens per domain to weigh and to measure on")
    out: Path | None = Field(None, description="save the projection as an edit; must not exist")
    left_over: Path | None = Field(None, description="save what is left over as an edit; must not exist")
    whole: Path | None = Field(None, description="save the adapter itself as an edit; must not exist")

    @field_validator("sources")
    @classmethod
    def _of_weights(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name in FROM_TEXT:
                raise RankOneError(
                    f"'{name}' parts are made from text: make them with `rankone find`, and give --parts."
                )
        return names

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.changed("count") and not set(self.sources) & set(COUNTED):
            raise ValueError(
                f"--count is for --sources {' or '.join(COUNTED)}; others have a number of their own: leave it out"
            )
        return self


class SiteShare(Record):
    """One site: its parts, how many have a scale, the site's share of the whole change, and what of it parts make.

    by_chance: the share of a random change that so many independent parts would make: their number over the entries.
    """

    site: str
    parts: int
    kept: int
    size: float
    explained: float
    by_chance: float


class PartShare(Record):
    """One part: its scale, and the size of its term relative to the whole change (squared norms)."""

    part: str
    alpha: float
    size: float


class ProjectReply(Reply):
    """What a fine-tune is in terms of parts, per site and per part, and what both do to text."""

    adapter: Path
    norm: Literal["frobenius", "text"]
    explained: float
    sites: tuple[SiteShare, ...]
    parts: tuple[PartShare, ...]
    total_parts: int
    adapter_damage: tuple[DomainDamage, ...]
    projection_damage: tuple[DomainDamage, ...]
    saved: dict[str, Path] = Field(default_factory=dict)

    def tables(self) -> Sequence[Table]:
        """Sites, parts, damage of the adapter beside that of its projection."""
        sites = Table.of(
            f"{self.adapter}: what of it are scales of parts ({self.norm} norm)",
            ["site", "parts", "scaled", "share of the change", "made by parts", "by chance"],
            [[s.site, s.parts, s.kept, s.size, s.explained, s.by_chance] for s in self.sites],
            f"in all {self.explained:.1%} are made by scaling parts, {1 - self.explained:.1%} are left over",
        )
        parts = Table.of(
            f"The largest of {self.total_parts:,} terms",
            ["part", "α", "size"],
            [[p.part, p.alpha, p.size] for p in self.parts],
            "size: squared norm of (α − 1) u vᵀ over that of the whole change; terms may overlap",
        )
        return sites, parts, self._damage()

    def _damage(self) -> Table:
        pairs = zip(self.adapter_damage, self.projection_damage, strict=True)
        rows = [[a.domain, a.base, a.shown, p.shown] for a, p in pairs]
        return Table.of(
            "What each does to held-out text",
            ["domain", "CE before", "rise by the adapter", "rise by its projection"],
            rows,
            f"nats per token; rise: {interval_said((*self.adapter_damage, *self.projection_damage))}",
        )

    def lines(self) -> Sequence[str]:
        """Where edits were saved."""
        return [f"saved {what}: {path}" for what, path in self.saved.items()]
