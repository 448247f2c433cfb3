"""What `find` is asked for, and what it answers."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from rankone.core.config import Config
from rankone.core.errors import RankOneError, nearest
from rankone.edits.finding.tolerances import Tolerances
from rankone.parts.sources import SOURCES
from rankone.parts.sources.material import CONTRAST

DECOMPOSITION = "decomposition"
# The shortlisted parts of the raw basis and of the decomposition, with their read directions refitted (edits/sharpen.py).
SHARPENED = "sharpened"
# Measured on SmolLM2-135M: from some thousand tokens, .3 leaks less into unseen text than .01 (research log, 2026-11-26).
FIND_RIDGE = 0.3
FINDABLE = (*SOURCES, DECOMPOSITION, SHARPENED)


class FindRequest(Config):
    """One behaviour to find a part for, the text it must not touch, where and among what to look, and how carefully."""

    of: str = Field(min_length=1, description="domain whose cross-entropy the part should raise")
    against: tuple[str, ...] = Field(default=(), description="domains to spare; none named: all others")
    about: bool = Field(
        default=True,
        description="spare English about the country of the language too, where there is such text",
    )
    sites: tuple[str, ...] = Field(default=(), description="patterns of module paths; none: the late half")
    sources: tuple[str, ...] = Field(default=(), description=f"of: {', '.join(FINDABLE)}; none named: all")
    also: tuple[str, ...] = Field(
        default=(), description="names of parts to measure whatever the shortlist says"
    )
    shortlist: int = Field(default=2, gt=0, description="parts measured per source")
    tokens: int = Field(default=1500, gt=0, description="training tokens per domain for the moments")
    rank_tokens: int = Field(default=120, gt=0, description="validation tokens per domain for the scan")
    tolerance: Tolerances = Field(
        default_factory=Tolerances, description="most rise of each domain to spare, nats per token"
    )
    enough: float = Field(default=1.1, gt=0, description="cross-entropy of the target that is enough, × ln V")
    refine: int = Field(default=2, ge=0, description="halvings of the last step of α, in ratio")
    contrast: float = Field(default=CONTRAST, ge=0, description="κ of contrast directions")
    ridge: float = Field(default=FIND_RIDGE, gt=0, description="ρ of discriminants and sharpened parts")
    about_weight: float = Field(
        default=1.0, ge=0, description="of English about the country in other text's moments"
    )
    seed: int = Field(default=0, description="of random directions and of the order of passages")
    out: Path | None = Field(default=None, description="artefact to write the measured parts into")

    @field_validator("tolerance", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        """A number for all domains, or words as `en=0.02`."""
        if isinstance(value, int | float):
            return Tolerances(domains={}, other=value)
        return Tolerances.read(value) if isinstance(value, tuple | list) else value

    @field_validator("sources")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in FINDABLE:
                raise ValueError(f"unknown source '{name}'.{nearest(name, list(FINDABLE))}")
        return value


class FoundPart(Config):
    """One measured part: its best α by the rule, and what that does to validation text (rises in nats per token).

    about: the rise of English about the country. separation, coverage: as in the shortlist. slope: ∂CE/∂α at α = 1 of the
    target, by the gradient. removed: whether the target's cross-entropy is at .98 of chance or more.
    """

    part: str
    source: str
    site: str
    alpha: float
    rise: float
    error: float | None
    others: dict[str, float]
    worst: float
    worst_domain: str
    about: float | None
    removed: bool
    separation: float | None
    coverage: float | None
    slope: float | None


class Found(Config):
    """The answer: measured parts, the best first, with what they were measured against.

    seconds: wall time per stage. cpu_seconds: processor time of all threads, which says more on a machine that is shared.
    """

    of: str
    against: list[str]
    chance: float
    base: dict[str, float]
    sites: list[str]
    tolerance: Tolerances
    parts: list[FoundPart]
    seconds: dict[str, float]
    cpu_seconds: float

    @property
    def pick(self) -> FoundPart:
        """The best part."""
        return self.parts[0]

    @property
    def winner(self) -> str:
        """The source of the best part."""
        return self.pick.source

    def best_of_each_source(self) -> list[FoundPart]:
        """The best part of every source, the best first: each a control of the same number of parameters for the others."""
        best: dict[str, FoundPart] = {}
        for part in self.parts:
            best.setdefault(part.source, part)
        return list(best.values())

    def named(self, part: str) -> FoundPart:
        """The row of a part; RankOneError where it was not measured."""
        for row in self.parts:
            if row.part == part:
                return row
        raise RankOneError(f"'{part}' was not measured.{nearest(part, [row.part for row in self.parts])}")
