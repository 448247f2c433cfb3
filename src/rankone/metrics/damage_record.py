"""The record of what an edit does to a text; importable without PyTorch. How it is computed: damage.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict

from rankone.core.errors import RankOneError, nearest
from rankone.render.columns import Column
from rankone.render.reply import Reply
from rankone.render.tables import Table
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


class Damages(Reply):
    """What an edit does to every domain of a text, nats per token; `damages["de"]` is one of them."""

    split: str
    domains: tuple[DomainDamage, ...]

    def __getitem__(self, domain: str) -> DomainDamage:
        for one in self.domains:
            if one.domain == domain:
                return one
        known = [one.domain for one in self.domains]
        raise RankOneError(
            f"no damage of '{domain}' was measured; of {', '.join(known)} it was.{nearest(domain, known)}"
        )

    def tables(self) -> Sequence[Table]:
        """One row per domain: cross-entropy before and after, the rise with its interval."""
        return (damage_table("Damage", self.domains, scored(self.domains, self.split)),)


def damage_table(title: str, domains: Sequence[DomainDamage], text: str) -> Table:
    """A row per domain. text: on what they were measured, as the caption says it."""
    rows = [[d.domain, d.base, d.edited, d.rise, d.low, d.high] for d in domains]
    caption = f"nats per token; {text}; low, high: {domains[0].level:.0%} interval of the rise"
    change = (Column(name, "+.3f") for name in ("rise", "low", "high"))
    return Table.of(title, ["domain", "CE before", "after", *change], rows, caption)


def scored(domains: Iterable[Damage], split: str) -> str:
    """On how much text some damages were measured: `800 test tokens of each domain`. A cross-entropy moves with it."""
    counts = [damage.tokens for damage in domains]
    least, most = min(counts), max(counts)
    if least == most:
        return f"{most:,} {split} tokens of each domain"
    return f"{least:,} to {most:,} {split} tokens of a domain"


def interval_said(domains: Iterable[Damage]) -> str:
    """What to say of the intervals of some rises: `95% interval over passages`, or that a single passage has none."""
    damages = list(domains)
    levels = [damage.level for damage in damages if damage.high is not None]
    if not levels:
        return "no interval: there is a single passage to measure on"
    without = ", none where there is a single one" if len(levels) < len(damages) else ""
    return f"{levels[0]:.0%} interval over passages{without}"


def measured(domains: Iterable[DomainDamage]) -> dict[str, object]:
    """What an edit's provenance keeps of the damage that was measured, and its card on the Hub shows."""
    return {"measured": [damage.model_dump(mode="json") for damage in domains]}
