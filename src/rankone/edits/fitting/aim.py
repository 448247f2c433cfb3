"""What a fit is for: the text to forget, the text to hold, how far the one goes and what the other may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from rankone.core.config import Config

Role = Literal["forget", "retain", "off-target"]
ROLES: tuple[Role, ...] = get_args(Role)
Measure = Literal["kl", "rise"]
CHANCE_SHARE = 0.98
"""A forget cross-entropy of at least this share of chance counts as removed."""


class Aim(Config):
    """One behaviour to remove and what must stay: cross-entropy of `forget` up to cap · chance, damage to `retain` (by
    `measure`) at most `tolerance`.

    forget: a domain of the corpus, or `self:DOMAIN`, the model's own text in it (text/self_text.py). chance: the
    cross-entropy of a uniform guess, ln V, in nats per token.
    """

    forget: str = Field(min_length=1)
    retain: tuple[str, ...] = Field(min_length=1, description="domains to hold")
    chance: float = Field(gt=0, description="ln V, nats per token")
    cap: float = Field(default=1.0, gt=0, description="forget cross-entropy to reach, in units of chance")
    tolerance: float = Field(
        default=0.015, gt=0, description="most KL(base ‖ edited) on any retained domain, nats per token"
    )
    measure: Measure = Field(
        default="kl",
        description="what is tolerated: KL(base ‖ edited), or the rise of cross-entropy, which says less of text "
        "that the model hardly knows and wants more of it",
    )
    tolerances: dict[str, Annotated[float, Field(gt=0)]] = Field(
        default_factory=dict, description="of retained domains that have one of their own"
    )

    @model_validator(mode="after")
    def _two_sides(self) -> Aim:
        if self.domain in self.retain:
            raise ValueError(f"'{self.domain}' is to be forgotten and to be held: name other domains to hold")
        if len(set(self.retain)) < len(self.retain):
            raise ValueError(f"retain names a domain twice: {', '.join(self.retain)}")
        for domain in self.tolerances:
            if domain not in self.retain:
                raise ValueError(f"'{domain}' has a tolerance and is not retained")
        return self

    @property
    def domain(self) -> str:
        """The domain that is to be forgotten, whoever wrote its text."""
        return self.forget.removeprefix("self:")

    @property
    def self_text(self) -> bool:
        """Whether the forget text is the model's own, so that no token of a corpus is used."""
        return self.forget.startswith("self:")

    @property
    def target(self) -> float:
        """The cross-entropy of the forget text that is enough, nats per token."""
        return self.cap * self.chance

    def tolerated(self, domain: str) -> float:
        """The largest damage allowed to a retained domain, nats per token."""
        return self.tolerances.get(domain, self.tolerance)

    def strain(self, damage: Mapping[str, float]) -> float:
        """The largest damage to a retained domain, in units of its tolerance: above 1 is too much. NaN where one is."""
        shares = [value / self.tolerated(domain) for domain, value in damage.items()]
        return max(shares, key=lambda share: (math.isnan(share), share))

    def removed(self, cross_entropy: float) -> bool:
        """Whether a forget cross-entropy (nats per token) counts as chance: at least 0.98 of it."""
        return cross_entropy >= CHANCE_SHARE * self.chance

    def worst(self, values: Mapping[str, float]) -> float:
        """The largest value of a retained domain."""
        return max(values[domain] for domain in self.retain)

    def role(self, domain: str) -> Role:
        """What a domain is to this aim: forget, retain or off-target."""
        if domain == self.domain:
            return "forget"
        return "retain" if domain in self.retain else "off-target"
