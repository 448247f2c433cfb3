"""What fitting and sharpening are asked for, and what sharpening answers; importable without PyTorch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rankone.core.config import Config
from rankone.core.fields import Domains, Names
from rankone.parts.ridge import RIDGE


class FitRequest(Config):
    """What to forget, what to hold, and how scales are fitted to it.

    forget: a domain, or `self:DOMAIN` for the model's own text. retain: none named: every other domain that the model was
    trained on, as far as its folder says, else every other one of the corpus.
    """

    forget: Annotated[str, Domains()] = Field(
        description="domain to forget, or self:DOMAIN for the model's own text in it"
    )
    retain: Annotated[Names, Domains()] = Field(
        default=(), description="domains to hold; default every other the model knows"
    )
    budget: int = Field(default=4, gt=0, description="forget tokens; of no account for self:DOMAIN")
    openings: Names = Field(default=(), description="what sets self:DOMAIN off, where no words are known")
    sharpen: bool = Field(
        default=False, description="refit what the parts read against the retained domains first"
    )
    seed: int = Field(default=0, ge=0, description="which forget text")
    cap: float = Field(
        default=1.1, gt=0, description="forget cross-entropy that is enough, in units of chance"
    )
    tolerance: float = Field(default=0.015, gt=0, description="most KL on a retained domain, nats per token")
    learning_rate: float = Field(
        default=0.3, gt=0, description="Adam rate on α, where there are several scales"
    )
    retain_weight: float = Field(default=1.0, ge=0, description="λ of the retain term, likewise")
    steps: int = Field(default=3000, gt=0, description="ceiling of steps, likewise")
    retain_tokens: int = Field(default=6000, gt=0, description="training tokens of all retained domains")


class SharpenRequest(Config):
    """Which parts to sharpen, for which domain, against which others (none: every other of the corpus)."""

    names: Names = Field(min_length=1, description="parts to sharpen")
    of: Annotated[str, Domains()] = Field(description="domain that the parts are to answer to")
    against: Annotated[Names, Domains()] = Field(
        default=(), description="domains they should not answer to; default all others"
    )
    tokens: int = Field(default=2000, gt=0, description="training tokens read per domain")
    ridge: float = Field(
        default=RIDGE, gt=0, description="ρ, in units of the mean eigenvalue of other text's moment"
    )


class Sharpened(Config):
    """One part before and after: root-mean-square v·x on other text over that on target text (leak), and the angle."""

    name: str
    leak_before: float
    leak_after: float
    cosine: float = Field(description="of the old and the new read direction")
    fidelity: float = Field(description="correlation (uncentred) of v·x and v′·x on target text")


class SharpenReply(Config):
    """What came of each part; `against` as it was used."""

    of: str
    against: tuple[str, ...]
    parts: tuple[Sharpened, ...]
