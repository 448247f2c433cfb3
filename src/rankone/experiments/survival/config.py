"""Which attacks an edit has to survive, and how strong they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rankone.core.config import Config, Record

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
"""none: exported and reloaded. knob: the edit's own size fitted back. relearn: training on forget text, benign: on other."""
ALL: tuple[Attack, ...] = (
    *("none", "bf16", "int8", "int4", "prompt", "knob"),
    *("relearn-lora", "relearn-full", "benign-lora", "benign-full"),
)


class SurvivalConfig(Config):
    """What is measured and how hard it is tried. budgets: training tokens of the attacks that train."""

    forget: str = "de"
    benign: str = Field(default="en", description="domain whose text benign training uses")
    measured: tuple[str, ...] = Field(default=("de", "en"), min_length=1)
    attacks: tuple[Attack, ...] = Field(default=ALL, min_length=1)
    budgets: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(min_length=1)] = (1, 16, 256, 4096)
    seeds: int = Field(default=3, gt=0)
    steps: int = Field(
        default=100, gt=0, description="ceiling of training steps; an attack keeps its last weights"
    )
    lora_rate: float = Field(default=0.003, gt=0)
    full_rate: float = Field(default=0.0003, gt=0)
    knob_rate: float = Field(default=0.1, gt=0)
    tokens: int = Field(default=1000, gt=0, description="test tokens per domain")


class Survived(Record):
    """What is left of an edit after an attack. budget: tokens it trained on, 0 without training.

    ce, base: cross-entropies by domain after it, and of the model before the edit, nats per token. regained: the share of
    the removal that the attack took back, (CE edited − CE) / (CE edited − CE base) on the domain to forget.
    """

    attack: Attack
    budget: int
    seed: int
    ce: dict[str, float]
    base: dict[str, float]
    regained: float
