"""What a rewrite is asked and answers; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rankone.core.config import Record
from rankone.core.fields import OnlyWith, PartNames, Positional, Request, Seed
from rankone.metrics.damage_record import DomainDamage, interval_said
from rankone.render.reply import Reply
from rankone.render.tables import Table


class RewriteRequest(Request):
    """A part and the token that it is to write instead."""

    part: Annotated[str, Positional(), PartNames()] = Field(description="part whose write vector is replaced")
    token: str = Field(
        min_length=1,
        description="token to write where the part fires; with its leading space to mean only that entry",
    )
    sizes: tuple[float, ...] = Field(
        (0.5, 1, 2, 4, 8), min_length=1, description="sizes to try, in units of the old write vector's length"
    )
    aim: float = Field(
        0.5, gt=0, lt=1, description="the smallest size that brings the token to this probability is taken"
    )
    train: int = Field(
        0, ge=0, description="train the write vector on this many firing positions instead; 0: closed form"
    )
    weight: Annotated[float, OnlyWith("train")] = Field(
        1.0, ge=0, description="with --train: λ of the KL to the model at other positions"
    )
    fires: float = Field(
        0.005, gt=0, lt=1, description="share of positions that count as firing, the largest |v·x|"
    )
    seed: Annotated[Seed, OnlyWith("train")] = Field(0, description="with --train: which firing positions")
    tokens: int = Field(1500, gt=0, description="tokens per domain to read and to measure on")
    out: Path | None = Field(None, description="save the edit here; must not exist")

    @model_validator(mode="after")
    def _sizes_of_a_closed_form(self) -> Self:
        if self.train and self.changed("sizes"):
            raise ValueError(
                "--sizes are of the closed form, and --train finds a vector of its own size: leave one out"
            )
        return self


class WriteEffect(Record):
    """What one write vector does on some text. size: in units of ‖u‖, None where it was trained.

    probability: of the token where the part fires; kl: KL(base ‖ edited) in nats where it fires, up to 20 positions from
    there, and elsewhere (None: no such position).
    """

    size: float | None
    probability: float
    kl_firing: float
    kl_near: float | None
    kl_other: float | None


class RewriteReply(Reply):
    """The write vector that was taken, what every one tried does, and what it does to held-out text."""

    part: str
    token: str
    direction: Literal["unembedding", "derivative", "trained"]
    cosine: float | None = Field(None, description="of the unembedding's row and the model's own derivative")
    raised: float | None = Field(
        None, description="share of positions where moving along the direction raises the token"
    )
    sign: int
    before: float = Field(description="probability of the token where the part fires, as the model is")
    firings: int
    tried: tuple[WriteEffect, ...]
    taken: WriteEffect
    met: bool
    held_out: WriteEffect
    domains: tuple[DomainDamage, ...]
    saved: Path | None = None

    def tables(self) -> Sequence[Table]:
        """Every write vector tried, the one taken on held-out text, and the damage per domain."""
        rows = [["trained" if t.size is None else f"{t.size:g}", *_figures(t)] for t in self.tried]
        taken = [i for i, t in enumerate(self.tried) if t == self.taken]
        rows.append(["held out", *_figures(self.held_out)])
        columns = ["size", "probability", "KL firing", "KL near", "KL elsewhere"]
        caption = (
            f"“{self.token}” had {self.before:.3f} where {self.part} fires ({self.firings} positions, v·x "
            f"{'positive' if self.sign > 0 else 'negative'}); KL(base ‖ edited) in nats; {self._source()}"
        )
        tried = Table.of(f"{self.part} writes “{self.token}”", columns, rows, caption, taken)
        damage = [[d.domain, d.base, d.edited, d.shown] for d in self.domains]
        said = f"nats per token; rise: {interval_said(self.domains)}"
        return tried, Table.of("What changed", ["domain", "CE before", "CE after", "rise"], damage, said)

    def _source(self) -> str:
        if self.direction == "trained":
            return "write vector trained"
        beside = "" if self.cosine is None else f", cosine {self.cosine:.2f} with the model's own derivative"
        return f"direction: {self.direction}{beside}, raises the token at {self.raised or 0:.0%} of positions"

    def lines(self) -> Sequence[str]:
        """Whether the aim was met, and where the edit was saved."""
        missed = (
            "The aim was not met by the trained vector."
            if self.direction == "trained"
            else "The aim was not met by any size; the one with the highest probability was taken."
        )
        said = [] if self.met else [missed]
        return [*said, *([] if self.saved is None else [f"saved {self.saved}"])]


def _figures(effect: WriteEffect) -> list[object]:
    return [effect.probability, effect.kl_firing, effect.kl_near, effect.kl_other]
