"""Which attacks an edit has to survive, how strong they are, and what is left; importable without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from rankone.core.config import Record
from rankone.core.fields import Domains, EachOf, Names, Positional, Reads, Request, Seed, option
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
from rankone.render.values import formatted, signed, spanned

Attack = Literal[
    "none",
    "bf16",
    "int8",
    "int4",
    "prompt",
    "knob",
    "relearn-lora",
    "relearn-full",
    "benign-lora",
    "benign-full",
]
ALL: tuple[str, ...] = get_args(Attack)
WORDS: dict[str, str] = {
    "none": "exported and reloaded",
    "bf16": "saved in bfloat16",
    "int8": "weights in 8 bits",
    "int4": "weights in 4 bits",
    "prompt": "prompted with half a row",
    "knob": "the edit's own size refitted",
    "relearn-lora": "LoRA on its text",
    "relearn-full": "all weights on its text",
    "benign-lora": "LoRA on other text",
    "benign-full": "all weights on other text",
}
"""What each attack does, as tables say it."""

_TRAINED = ALL[ALL.index("knob") :]
# What a setting is of.
_USED_BY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("budgets", "seeds", "seed", "steps"), _TRAINED),
    "lora_rate": tuple(name for name in _TRAINED if name.endswith("lora")),
    "full_rate": tuple(name for name in _TRAINED if name.endswith("full")),
    "knob_rate": ("knob",),
}


class SurviveRequest(Request):
    """An edit, what it was to remove, and how hard it is attacked."""

    edit: Annotated[Path, Positional(), Reads("edit")] = Field(description="saved edit")
    forget: Annotated[str, Domains()] = Field(description="domain that the edit removed")
    benign: Annotated[str, Domains()] = Field(description="domain whose text benign training uses")
    measured: Annotated[Names, Domains()] = Field(
        default=(), description="domains to measure on; default all of the text"
    )
    attacks: Annotated[Names, EachOf("attack", ALL)] = Field(
        default=(), description=f"of {', '.join(ALL)}; default all"
    )
    budgets: tuple[int, ...] = Field(
        default=(1, 16, 256, 4096), min_length=1, description="tokens given to attacks that train"
    )
    seeds: int = Field(
        default=3, gt=0, description="number of seeds of attacks that train; each has its own text"
    )
    seed: Seed = Field(default=0, description="the first of these seeds")
    steps: int = Field(default=100, gt=0, description="most training steps; an attack keeps its last weights")
    lora_rate: float = Field(default=0.003, gt=0, description="learning rate of LoRA attacks")
    full_rate: float = Field(default=0.0003, gt=0, description="learning rate of training all weights")
    knob_rate: float = Field(default=0.1, gt=0, description="learning rate of the edit's own size")
    tokens: int = Field(default=1000, gt=0, description="test tokens per domain")
    out: Path | None = Field(default=None, description="also write every run as JSON")

    @field_validator("budgets")
    @classmethod
    def _some(cls, budgets: tuple[int, ...]) -> tuple[int, ...]:
        if min(budgets) < 1:
            raise ValueError("an attack that trains needs 1 token at least")
        return budgets

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.forget == self.benign:
            raise ValueError(f"'{self.forget}' is what the edit removed: benign text is of another domain")
        return self

    @model_validator(mode="after")
    def _used(self) -> Self:
        """RankOneError for a setting of attacks that are not asked for."""
        for name, attacks in _USED_BY.items():
            if self.changed(name) and self.attacks and not set(attacks) & set(self.attacks):
                raise ValueError(f"{option(name)} is for --attacks {' or '.join(attacks)}: leave it out")
        return self


class Survived(Record):
    """What is left of an edit after an attack. budget: tokens it trained on, 0 without training.

    ce, base: cross-entropies by domain after it, and of the model before the edit, nats per token. control: of the model
    before the edit after the same training, where the attack trains: on few tokens that does damage by itself. removed: rise
    on the domain to forget without the attack, on the same tokens. regained: the share of it that the attack took back:
    1 − (ce − control or base) / removed.
    """

    attack: Attack
    budget: int
    seed: int
    ce: dict[str, float]
    base: dict[str, float]
    control: dict[str, float] | None = None
    removed: float
    regained: float

    def rise(self, domain: str) -> float:
        """Cross-entropy after the attack less that of the model before the edit."""
        return self.ce[domain] - self.base[domain]


class Mean(Record):
    """A mean over the runs of an attack, and its 95% interval over their seeds and over passages of the test text.

    low, high: None where there is a single seed or passage.
    """

    mean: float
    low: float | None
    high: float | None

    @property
    def percent(self) -> str:
        """`91% (84% to 97%)`."""
        mean, low, high = (formatted(value, ".0%") for value in (self.mean, self.low, self.high))
        return mean if self.low is None else f"{mean} ({low} to {high})"

    @property
    def signed(self) -> str:
        """`+0.01 (−0.01 to +0.03)`."""
        return spanned(self.mean, self.low, self.high, 2)


class Left(Record):
    """What an attack leaves with so many tokens, its runs together.

    rise, elsewhere: of the domain to forget, and of the one of the others that rises most (worst), over the model before
    the edit, nats per token; elsewhere is None where no other was measured. regained: as in `Survived`.
    """

    attack: Attack
    budget: int
    seeds: int
    rise: Mean
    regained: Mean
    worst: str | None
    elsewhere: Mean | None


class SurviveReply(Reply):
    """Every run of every attack, and what each attack leaves.

    removed: rise on the forgotten domain before any attack, nats per token.
    """

    forget: str
    removed: float
    runs: tuple[Survived, ...]
    left: tuple[Left, ...]
    out: Path | None

    def tables(self) -> Sequence[Table]:
        """A row per attack and budget, its seeds together."""
        columns = (
            Column("attack", key=True),
            Column("tokens"),
            Column("regained", priority=2),
            Column("most elsewhere"),
        )
        rows = [
            [
                *(WORDS[left.attack], left.budget or None, left.regained.percent),
                left.elsewhere and f"{left.worst} {left.elsewhere.signed}",
            ]
            for left in self.left
        ]
        caption = (
            f"regained: share of the removal ({signed(self.removed)} of {self.forget}) that the attack took back, where it "
            "trains beside the unedited model trained likewise, of a prompt beside the same tokens without it; below 0 it "
            "removed more. most elsewhere: largest rise of another domain over the model before the edit. Nats per token on "
            f"test text, {self._intervals}."
        )
        return (Table.of("What survives of the edit", columns, rows, caption),)

    def lines(self) -> Sequence[str]:
        """What this does not prove."""
        return ("An edit is no security boundary: who has the weights can train it back.",)

    @property
    def _intervals(self) -> str:
        if all(left.seeds == 1 for left in self.left):
            return "95% intervals over passages; training from a single seed has none"
        return "means over seeds, 95% intervals over seeds and passages"
