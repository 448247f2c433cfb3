"""What the job on a real model runs: languages, where parts are looked for, how much text, what may be lost."""

from __future__ import annotations

from pydantic import Field

from rankone.core.config import Config
from rankone.core.fields import Seed
from rankone.edits.finding.tolerances import Tolerances
from rankone.edits.fitting.aim import Measure
from rankone.edits.fitting.config import DIRECTIONS_RATE

MOST_DEGENERATE = 0.05
"""Of side-effect answers, the share that may become degenerate."""


class RealModelConfig(Config):
    """One run of the job, language by language. The text that parts are found and fitted on is the package's own."""

    model: str = Field(default="smollm2", description="a model that can be fetched, or a folder")
    languages: tuple[str, ...] = Field(default=("fr", "de"), min_length=1, description="each removed alone")
    spared: tuple[str, ...] = Field(default=(), description="domains to spare; none named: all others")
    sites: tuple[str, ...] = Field(default=(), description="patterns; none: the late half of the model")
    sources: tuple[str, ...] = Field(default=(), description="sources of parts; none named: all")
    shortlist: int = Field(default=2, gt=0, description="parts measured per source")
    sites_measured: int = Field(
        default=1, gt=0, description="closed-form directions measured for one part of every other source"
    )
    tokens: int = Field(default=1500, gt=0, description="training tokens per domain for the moments")
    rank_tokens: int = Field(default=80, gt=0, description="validation tokens per domain for the scan")
    tolerance: Tolerances = Field(default_factory=Tolerances)
    together: bool = Field(
        default=False, description="two parts by one number, where that does more than one"
    )
    several: int = Field(
        default=0, ge=0, description="so many parts by one number, where they do more than one"
    )
    about_weight: float = Field(
        default=1.0, ge=0, description="of English about the country in other text's moments"
    )
    cap: float = Field(default=1.1, gt=0, description="cross-entropy of the target that is enough, × ln V")
    budget: int = Field(default=32, gt=0, description="forget tokens of every fit")
    retain_tokens: int = Field(default=600, gt=0, description="training tokens of all spared domains")
    size_by: Measure = Field(
        default="kl",
        description="what sets the size: `retain_kl` on training text, or rises within `tolerance` on validation text",
    )
    size_tokens: int = Field(
        default=800, gt=0, description="validation tokens per domain that rises set the size on"
    )
    retain_kl: float = Field(
        default=0.05, gt=0, description="most KL on a spared domain in a fit, nats per token"
    )
    lora_steps: int = Field(default=60, gt=0, description="of the LoRA on the pick's matrix")
    lora_rate: float = Field(default=0.01, gt=0)
    train_steps: int = Field(
        default=0,
        ge=0,
        description="of both directions, within the tolerances, where these stop the scale short of its target; 0: never",
    )
    train_rounds: int = Field(
        default=1,
        gt=0,
        description="how often these steps are taken at most, where the tolerances leave the edit short of its target",
    )
    train_tokens: int = Field(
        default=2000,
        gt=0,
        description="training tokens of the target for that; of each other domain half as many, of tight ones four times",
    )
    train_cap: float = Field(
        default=1.5,
        gt=0,
        description="cross-entropy of the target's training text that is enough, × ln V: other text gets less far",
    )
    train_rate: float = Field(
        default=DIRECTIONS_RATE, gt=0, description="Adam's, of entries of mean square 1"
    )
    train_lora: bool = Field(
        default=False, description="a LoRA from its random start trained on the same text beside them"
    )
    train_lora_rate: float = Field(default=0.01, gt=0)
    test_tokens: int = Field(default=800, gt=0, description="held-out tokens per domain")
    answer_tokens: int = Field(default=48, gt=0, description="most tokens of an answer")
    seed: Seed = 0
