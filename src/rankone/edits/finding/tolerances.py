"""How much an edit may cost, domain by domain: what a chat model mostly does is held tighter than its other languages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import Field, model_validator

from rankone.core.config import Config
from rankone.core.errors import RankOneError

OTHER, ABOUT = "other", "about"
TIGHT = {"en": 0.02, "code": 0.02}


class Tolerances(Config):
    """The most that cross-entropy may rise, nats per token. domains: those with a number of their own; other: all the rest;
    about: English about the target's country."""

    domains: dict[str, float] = Field(default_factory=lambda: dict(TIGHT))
    other: float = Field(default=0.05, gt=0)
    about: float = Field(default=0.3, gt=0)

    @model_validator(mode="after")
    def _positive(self) -> Tolerances:
        for domain, value in self.domains.items():
            if not 0 < value < math.inf:
                raise ValueError(f"the tolerance of '{domain}' is {value:g}: give a number above 0")
        return self

    @classmethod
    def read(cls, words: Sequence[str]) -> Tolerances:
        """From `en=0.02`, `other=0.05`, `about=0.3`; a number alone is that of every domain but `about`.

        Raises RankOneError for what is not a number, and for a name given twice.
        """
        given: dict[str, float] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals:
                name, value = "", word
            if name in given:
                raise RankOneError(f"the tolerance of '{name or 'every domain'}' is given twice.")
            given[name] = _number(word, value)
        if "" in given:
            given = {OTHER: given.pop(""), **given}
            domains: dict[str, float] = {}
        else:
            domains = dict(TIGHT)
        special = {key: given.pop(key) for key in (OTHER, ABOUT) if key in given}
        return cls.checked({**special, "domains": domains | given}, "tolerance")

    @classmethod
    def given(cls, value: object) -> object:
        """From a number for all domains, or the words of `read`, one by one or with commas between them."""
        if isinstance(value, int | float):
            return cls(domains={}, other=value)
        if isinstance(value, str):
            value = [word.strip() for word in value.split(",")]
        return cls.read(value) if isinstance(value, tuple | list) else value

    def of(self, domain: str) -> float:
        """The most that a domain may rise."""
        return self.domains.get(domain, self.other)

    @property
    def named(self) -> tuple[str, ...]:
        """The domains that somebody gave a number of their own."""
        return tuple(d for d, value in self.domains.items() if TIGHT.get(d) != value)

    def without(self, domain: str) -> Tolerances:
        """The same of all domains but one."""
        return self.model_copy(update={"domains": {d: v for d, v in self.domains.items() if d != domain}})

    def over(self, rises: Mapping[str, float]) -> list[str]:
        """The domains that rose by more, or by NaN."""
        return [d for d, rise in rises.items() if not rise <= self.of(d)]

    def strain(self, rises: Mapping[str, float], about: float | None = None) -> float:
        """The largest rise in units of what is allowed: above 1 is too much. NaN where a rise is NaN; 0 without any."""
        shares = [rise / self.of(d) for d, rise in rises.items()]
        shares += [] if about is None else [about / self.about]
        return max(shares, key=lambda s: (math.isnan(s), s), default=0.0)

    def __str__(self) -> str:
        named = {**self.domains, OTHER: self.other, ABOUT: self.about}
        return ",".join(f"{name}={value:g}" for name, value in named.items())


def _number(word: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise RankOneError(
            f"'{word}' is not a tolerance: write a number, or DOMAIN=NUMBER ({OTHER}= for all others, {ABOUT}= for English "
            "about the country)."
        ) from None
