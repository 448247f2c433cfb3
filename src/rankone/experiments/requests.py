"""What the experiments' verbs are asked for, and what they answer; importable without PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from rankone.core.config import Config, Record
from rankone.core.fields import Domains, Names, PartNames, Reads, Request, Seed
from rankone.core.manifest import Manifest
from rankone.core.provenance import Environment
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.config import START_WEIGHT
from rankone.edits.requests import FitRequest
from rankone.metrics.damage_record import DomainDamage, damage_table, interval_said, scored
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.text.corpus import Split, TextRecord


class TuneRequest(FitRequest):
    """What to scale, what to forget and what to hold."""

    scale: Annotated[Names, PartNames()] = Field(
        min_length=1,
        description="what to scale: parts, cNUMBER (--clusters), label:WORDS (--harvest, --labels)",
    )
    tokens: int = Field(default=2000, gt=0, description="test tokens per domain to measure on")
    out: Path | None = Field(default=None, description="save the edit here; must not exist")

    @model_validator(mode="after")
    def _used(self) -> Self:
        self.require_used(len(self.scale))
        return self


class PicksRequest(Request):
    """Whose picks are compared with which candidates, by which scales, on how much text."""

    targets: Names = Field(
        default=("de", "fr", "es", "it", "code"), min_length=1, description="domains to forget"
    )
    candidates: int = Field(default=20, gt=0, description="most specific parts measured per target")
    alphas: tuple[float, ...] = Field(default=(-24, -12, -6, -3, 0, 3, 6), min_length=1, description="scales")
    tokens: int = Field(default=400, gt=0, description="validation tokens per domain")
    tolerance: float = Field(
        default=0.05, gt=0, description="largest rise allowed of another domain, nats per token"
    )
    out: Path | None = Field(default=None, description="also write all trade-offs as JSON")


class StudyRequest(Request):
    """What is measured of a part that is turned: scales, text, label draws of the Fisher information, rows of tables."""

    alphas: tuple[float, ...] = Field(default=(0.0, -1.0, -8.0), min_length=1, description="scales to try")
    tokens: int = Field(default=1000, gt=0, description="tokens per domain")
    split: Split = Field(default="validation", description="text to measure on")
    domains: Names = Field(default=(), description="domains to look at; default all of the harvest")
    draws: int = Field(default=4, gt=0, description="label draws of the Fisher information, per position")
    contexts: int = Field(default=5, ge=0, description="worst contexts shown per domain")
    words: int = Field(default=8, gt=0, description="tokens listed per domain")
    seed: Seed = Field(default=0, description="of the label draws")

    @field_validator("alphas")
    @classmethod
    def _change_something(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if any(not math.isfinite(a) or a == 1 for a in alphas):
            raise ValueError("every α must be a finite number other than 1, which changes nothing")
        return tuple(dict.fromkeys(alphas))


class MeasureRequest(Request):
    """Which text to measure a model on, and an edit to measure it with."""

    edit: Annotated[Path | None, Reads("edit")] = Field(
        default=None, description="saved edit, whose rise of cross-entropy is measured"
    )
    domains: Annotated[Names, Domains()] = Field(default=(), description="domains; default all of the text")
    split: Split = Field(default="test", description="text to measure on")
    tokens: int = Field(default=1200, gt=0, description="tokens per domain")
    out: Path | None = Field(default=None, description="also write the figures as JSON")


class NamedModel(Record):
    """A model by the name that it was loaded by."""

    name: str


class MeasuredWith(Environment):
    """The environment of a measurement, and the model: its manifest where it is a RankOne artefact."""

    model: Manifest | NamedModel


class Measured(Reply):
    """Cross-entropies of a model on stated text, nats per token.

    tokens: asked for, per domain. short: domains that have fewer, with how many were scored. error: standard errors of `ce`
    over passages. chance: ln V; files written before 2026-11-27 lack it. damage: where an edit was given, what it changes;
    `ce` is then of the edited model.
    """

    model: str
    text: TextRecord
    split: str
    tokens: int
    chance: float | None = None
    ce: dict[str, float]
    error: dict[str, float | None] = Field(default_factory=dict)
    short: dict[str, int] = Field(default_factory=dict)
    edit: Path | None = None
    damage: tuple[DomainDamage, ...] = ()
    provenance: MeasuredWith | None = None

    def tables(self) -> Sequence[Table]:
        """One row per domain, with the standard error over passages; domains with less text than asked are named."""
        caption = f"{self.tokens:,} {self.split} tokens of each domain"
        caption += "" if self.chance is None else f"; chance {self.chance:.3f}"
        caption += "".join(f"; {domain} has only {count:,}" for domain, count in self.short.items())
        if self.damage:
            return (damage_table(f"{self.model}: what the edit changes", self.damage, caption),)
        rows = [[domain, value, self.error.get(domain)] for domain, value in self.ce.items()]
        columns = ["domain", "CE", "standard error"]
        return (Table.of(f"{self.model}: cross-entropy, nats per token", columns, rows, caption),)


class Rate(Config):
    """Learning rate, retain weight λ and cap (in units of ln V) of a method at a budget."""

    learning_rate: float = Field(gt=0)
    retain_weight: float = Field(ge=0)
    margin: float = Field(default=1.0, gt=0)


class TuneReply(Reply):
    """The fitted scales and what they do.

    met: the forget domain's test text is at chance (≥ .98) and no retained domain rose by DAMAGE_BAR or more. reached:
    whether the forget text itself told that it is at its target; if not, the tolerance on retained text set the size.
    trained: steps that directions were trained for after the scales were found. self_tokens: those that the model wrote
    itself to be trained on, where the forget tokens were too few. weights: what each retained domain weighed
    at the end of that, more than at its start (.1) where it stood in the way. kl: KL of each retained domain on the text
    that was fitted, nats per token. advice: what to try where `met` is false.
    """

    aim: Aim
    scales: dict[str, float]
    sign: str
    steps: int
    trained: int = 0
    weights: dict[str, float] = Field(default_factory=dict)
    forget_tokens: int
    self_tokens: int = 0
    reached: bool
    kl: dict[str, float]
    domains: tuple[DomainDamage, ...]
    met: bool
    warnings: tuple[str, ...]
    advice: tuple[str, ...]
    saved: Path | None = None

    def tables(self) -> tuple[Table, Table]:
        """The scales, and what changed on every domain."""
        how = (
            f"after {self.steps} steps" if self.steps else "by size alone: one scale has nothing else to fit"
        )
        if self.trained:
            how += f"; directions then trained for {self.trained} step{'s' * (self.trained > 1)}"
        if self.self_tokens:
            how += f" on {self.self_tokens:,} tokens that the model wrote itself"
        title = "Scales before training" if self.trained else "Scales"
        columns = ["scaled", Column("α", "+.3f")]
        scales = Table.of(f"{title} ({how})", columns, [[name, alpha] for name, alpha in self.scales.items()])
        rows = [[r.domain, r.role, r.base, r.edited, r.shown] for r in self.domains]
        caption = (
            f"chance {self.aim.chance:.3f}; nats per token on {scored(self.domains, 'test')}, "
            f"{interval_said(self.domains)}; "
            f"most KL on a retained domain {max(self.kl.values()):.4f} of {self.aim.tolerance:g} allowed"
        )
        columns = ["domain", "role", "CE before", "CE after", "rise"]
        return scales, Table.of("What changed", columns, rows, caption)

    def lines(self) -> list[str]:
        """Whether the aim was met, in which way, what to try, and where the edit lies."""
        size = "the forget text's own verdict" if self.reached else "the tolerance on retained text"
        met = "the aim is met" if self.met else "the aim is not met"
        heavy = sorted(
            (d for d, weight in self.weights.items() if weight > START_WEIGHT), key=lambda d: -self.weights[d]
        )
        in_the_way = ", ".join(heavy)
        return [
            f"{met}: {self.sign}, size set by {size}",
            *([f"stood in the way of training: {in_the_way}"] if in_the_way and not self.reached else []),
            *self.warnings,
            *(f"try: {line}" for line in self.advice),
            *([f"saved {self.saved}"] if self.saved is not None else []),
        ]
