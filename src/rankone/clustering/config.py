"""Settings of a clustering: the text, what counts as firing, and the merging."""

from __future__ import annotations

from pydantic import Field

from rankone.harvest.config import FIRING, TextRead


class ClusterDials(TextRead):
    """What can be asked of a clustering, beside its domains.

    per_row: so that long rows do not count one sentence many times. gamma: P ∝ exp(−gamma · rank) of the next merge.
    """

    per_row: int = Field(default=32, gt=0, description="positions sampled from a row of text")
    threshold: float = Field(
        default=FIRING, ge=0, lt=1, description="importance above which a subcomponent fires"
    )
    least_firings: int = Field(
        default=1, gt=0, description="leave out what fires at fewer of the sampled positions"
    )
    rank_penalty: float = Field(
        default=10.0, ge=0, description="bits per firing and member; more: smaller components"
    )
    gamma: float | None = Field(default=0.2, ge=1e-3, description="how sharply the draw prefers cheap merges")


class ClusterConfig(ClusterDials):
    """Settings of a clustering; equal settings, text and decomposition give equal components.

    context: longest row, BOS included. gamma: None always takes the cheapest merge.
    """

    domains: tuple[str, ...] = Field(min_length=1)
    context: int = Field(default=512, gt=1)
