"""Settings of a clustering: the text, what counts as firing, and the merging."""

from __future__ import annotations

from pydantic import Field

from rankone.core.config import Config
from rankone.harvest.config import FIRING


class ClusterConfig(Config):
    """Settings of a clustering; equal settings, text and decomposition give equal components.

    domains, split, tokens: the text, at most `tokens` text tokens per domain. context: longest row, BOS included.
    per_row: positions sampled from a row, so that long rows do not count one sentence many times. threshold: a
    subcomponent fires where its importance is above. least_firings: one that fires at fewer sampled positions is dead.
    alpha: bits per firing and member of a group. gamma: how sharply the draw of the next merge prefers cheap ones
    (P ∝ exp(−gamma · rank)); None always takes the cheapest. seed: of the sampled positions and of the draws.
    batch_tokens: positions in one forward, padding included.
    """

    domains: tuple[str, ...] = Field(min_length=1)
    split: str = "train"
    tokens: int = Field(default=10_000, gt=0)
    context: int = Field(default=512, gt=1)
    per_row: int = Field(default=32, gt=0)
    threshold: float = Field(default=FIRING, ge=0, lt=1)
    least_firings: int = Field(default=1, gt=0)
    alpha: float = Field(default=10.0, ge=0)
    gamma: float | None = Field(default=0.2, ge=1e-3)
    seed: int = Field(default=0, ge=0, lt=1 << 31)
    batch_tokens: int = Field(default=2048, gt=0)
