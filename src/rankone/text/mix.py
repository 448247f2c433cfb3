"""What recipes say of training text: the share of every domain, and its sources."""

from __future__ import annotations

from pydantic import Field

from rankone.core.config import Config


class DomainMix(Config):
    """One domain of the training text."""

    weight: float = Field(gt=0, description="share of the tokens, before normalisation")
    sources: list[str] | None = Field(
        default=None, description="source names to take equally; None takes all"
    )


Mixture = dict[str, DomainMix]
