"""What a harvest counts, over which text."""

from __future__ import annotations

from pydantic import Field, model_validator

from rankone.core.config import Config
from rankone.core.fields import Seed
from rankone.text.corpus import Split

# Above this importance a part fires.
FIRING = 0.1
# Where a harvest of parts that lie nowhere else keeps them, as a decomposition (decomposition/untrained.py).
HELD_PARTS = "parts"


class TextRead(Config):
    """Which text is gone through, and how: what harvests and clusterings have in common."""

    split: Split = Field(default="train", description="text to read")
    tokens: int = Field(default=10_000, gt=0, description="tokens per domain, at most")
    seed: Seed = Field(default=0, description="seed of all random draws")
    batch_tokens: int = Field(default=2048, gt=0, description="positions in one forward, padding included")


class HarvestDials(TextRead):
    """What can be asked of a harvest, beside its domains."""

    examples: int = Field(default=1000, ge=0, lt=1 << 31, description="examples kept per subcomponent")


class HarvestConfig(HarvestDials):
    """Settings of a harvest; two harvests with equal settings, text and decomposition are equal.

    context: longest row, BOS included. thresholds: firings are counted above each; a part *fires* where its importance is
    above `firing`, one of them. window: tokens on each side of an example's centre. top_tokens, least_probability: a
    position's next tokens are the model's `top_tokens` likeliest, of at least this probability.
    """

    domains: tuple[str, ...] = Field(min_length=1)
    context: int = Field(default=512, gt=1)
    thresholds: tuple[float, ...] = (0.0, FIRING, 0.5)
    firing: float = FIRING
    window: int = Field(default=20, ge=0)
    top_tokens: int = Field(default=32, gt=0)
    least_probability: float = Field(default=0.01, ge=0, le=1)

    @model_validator(mode="after")
    def _thresholds_make_sense(self) -> HarvestConfig:
        if any(not 0 <= t < 1 for t in self.thresholds) or len(set(self.thresholds)) < len(self.thresholds):
            raise ValueError(f"thresholds {self.thresholds} must be different numbers in [0, 1)")
        if self.firing not in self.thresholds:
            raise ValueError(f"firing {self.firing} is not one of the thresholds {self.thresholds}")
        if len(set(self.domains)) < len(self.domains):
            raise ValueError(f"a domain is named twice in {', '.join(self.domains)}")
        return self

    @property
    def firing_column(self) -> str:
        """The column that holds how often a part fires."""
        return f"above_{self.thresholds.index(self.firing)}"
