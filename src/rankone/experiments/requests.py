"""What tuning and the comparison of picks are asked for, and what tuning answers; importable without PyTorch."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rankone.core.config import Config
from rankone.core.fields import Names
from rankone.edits.fitting.aim import Aim
from rankone.edits.requests import FitRequest
from rankone.metrics.damage_record import DomainDamage
from rankone.render.tables import Table


class TuneRequest(FitRequest):
    """What to scale, what to forget and what to hold."""

    scale: Names = Field(min_length=1, description="what to scale: parts, or cNUMBER of --clusters")
    tokens: int = Field(default=2000, gt=0, description="test tokens per domain to measure on")
    save: Path | None = Field(default=None, description="save the edit here; must not exist")


class PicksRequest(Config):
    """Whose picks are compared with which candidates, by which scales, on how much text."""

    targets: Names = Field(
        default=("de", "fr", "es", "it", "code"), min_length=1, description="domains to forget"
    )
    candidates: int = Field(default=20, gt=0, description="most specific parts measured per target")
    alphas: tuple[float, ...] = Field(default=(-24, -12, -6, -3, 0, 3, 6), min_length=1, description="scales")
    tokens: int = Field(default=400, gt=0, description="validation tokens per domain")
    tolerance: float = Field(default=0.05, gt=0, description="most rise of another domain, nats per token")


class TuneReply(Config):
    """The fitted scales and what they do.

    met: the forget domain's test text is at chance (≥ .98) and no retained domain rose by DAMAGE_BAR or more. reached:
    whether the forget text itself told that it is at its target; if not, the tolerance on retained text set the size.
    kl: KL of each retained domain on the text that was fitted, nats per token. advice: what to try where `met` is false.
    """

    aim: Aim
    scales: dict[str, float]
    sign: str
    steps: int
    forget_tokens: int
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
        scales = Table.of(
            f"Scales ({how})", ["scaled", "α"], [[n, f"{a:+.3f}"] for n, a in self.scales.items()]
        )
        rows = [[r.domain, r.role, r.base, r.edited, r.shown] for r in self.domains]
        caption = (
            f"chance {self.aim.chance:.3f}; nats per token on held-out test text, 95% interval over passages; most KL on a "
            f"retained domain {max(self.kl.values()):.4f} of {self.aim.tolerance:g} allowed"
        )
        columns = ["domain", "role", "CE before", "CE after", "rise"]
        return scales, Table.of("What changed", columns, rows, caption)

    def lines(self) -> list[str]:
        """Whether the aim was met, in which way, what to try, and where the edit lies."""
        size = "the forget text's own verdict" if self.reached else "the tolerance on retained text"
        met = "the aim is met" if self.met else "the aim is not met"
        return [
            f"{met}: {self.sign}, size set by {size}",
            *self.warnings,
            *(f"try: {line}" for line in self.advice),
            *([f"saved {self.saved}"] if self.saved is not None else []),
        ]
