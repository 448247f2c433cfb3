"""The record of what an edit does to a text; importable without PyTorch. How it is computed: damage.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel, ConfigDict

from rankone.render.values import signed


class Damage(BaseModel):
    """What an edit does to one text, nats per token.

    base, edited: cross-entropies. rise: their difference. error: standard error of the rise. low, high: interval of the rise
    at `level`. All three are None for a single passage, which says nothing of their spread.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: float
    edited: float
    rise: float
    error: float | None
    low: float | None
    high: float | None
    level: float
    tokens: int
    passages: int

    @property
    def shown(self) -> str:
        """`+0.012 ± 0.004`, or `−0.003`: the rise and half the width of its interval."""
        half = "" if self.high is None else f" ± {self.high - self.rise:.3f}"
        return f"{signed(self.rise)}{half}"


class DomainDamage(Damage):
    """What an edit does to one domain. role: forget, retain or off-target, where there is an aim."""

    domain: str
    role: str | None = None

    @classmethod
    def of(cls, domain: str, damage: Damage, role: str | None = None) -> Self:
        """A damage with the domain that it was measured on."""
        return cls(domain=domain, role=role, **vars(damage))


def scored(domains: Iterable[Damage], split: str) -> str:
    """On how much text some damages were measured: `800 test tokens of each domain`. A cross-entropy moves with it."""
    counts = [damage.tokens for damage in domains]
    least, most = min(counts), max(counts)
    if least == most:
        return f"{most:,} {split} tokens of each domain"
    return f"{least:,} to {most:,} {split} tokens of a domain"


def measured(domains: Iterable[DomainDamage]) -> dict[str, object]:
    """What an edit's provenance keeps of the damage that was measured, and its card on the Hub shows."""
    return {"measured": [damage.model_dump(mode="json") for damage in domains]}
