"""The results of single runs, one file each under its key: what is there is not run again."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from rankone.core.artifact import read_json, write_json
from rankone.core.config import Record
from rankone.experiments.bench.cells import Cell


class DomainResult(Record):
    """One domain of one run, on test (or, in tuning, validation) text, nats per token.

    error: standard error of the rise over passages. rise_p99: 99th percentile of the rise of single tokens.
    bits: bits per byte of the edited model. passages: of each its scored tokens, the unchanged model's nats in sum, and how
    far those rose.
    """

    ce_base: float
    ce: float
    error: float | None
    rise_p99: float
    bits: float
    passages: tuple[tuple[int, float, float], ...]

    @property
    def rise(self) -> float:
        """How far the cross-entropy rose."""
        return self.ce - self.ce_base


STAGES = {"fitted": "as fitted", "sized": "sized by the rule", "matched": "at matched removal"}
"""What is measured of a run, with its words: the fit as it came, at the size of the rule for all methods
(edits/fitting/size.py), and at the size that validation text scores best (choice.py)."""


class Stage(Record):
    """An edit as fitted, or brought to a size; size: its multiple of the fitted one.

    reached: whether the forget text itself told that it is at its target. validation, test: by domain.
    """

    size: float
    alpha: float | None
    validation: dict[str, DomainResult]
    test: dict[str, DomainResult] = Field(default_factory=dict)
    reached: bool | None = None


class Outcome(Record):
    """A finished run. start: which of the method's starts was the better. error: why it failed, else None.

    A run that failed has no stages; one that diverged stands where it last was finite. fitted: None where fits are looked
    at in their size alone.
    """

    cell: Cell
    key: str
    start: int = 0
    steps: int = 0
    loss: float = float("nan")
    diverged: bool = False
    error: str | None = None
    fitted: Stage | None = None
    sized: Stage | None = None
    matched: Stage | None = None
    seconds: float = 0.0

    @property
    def first(self) -> Stage | None:
        """The first stage it has: rates are chosen by it, and it is what is saved and run again."""
        return self.fitted or self.sized

    @property
    def stages(self) -> dict[str, Stage]:
        """Those it has, by name."""
        return {name: stage for name in STAGES if (stage := getattr(self, name)) is not None}

    @property
    def status(self) -> str:
        """`ok`, `diverged` or `failed`."""
        return "failed" if self.error is not None else "diverged" if self.diverged else "ok"


class Ledger:
    """The folder of finished runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> Outcome | None:
        """A finished run; None where it has not run. RankOneError for a damaged file."""
        path = self.folder / f"{key}.json"
        return Outcome.checked(read_json(path), str(path)) if path.is_file() else None

    def add(self, outcome: Outcome) -> None:
        """Write a finished run, atomically."""
        write_json(self.folder / f"{outcome.key}.json", outcome.plain(), constants=True)
