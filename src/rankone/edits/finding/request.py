"""What finding is set to: what it is asked for, and the dials of the method."""

from __future__ import annotations

from pydantic import Field

from rankone.edits.requests import FindRequest
from rankone.parts.ridge import CONTRAST

# Measured on SmolLM2-135M: from some thousand tokens, .3 leaks less into unseen text than .01 (research log, 2026-11-26).
FIND_RIDGE = 0.3


class FindConfig(FindRequest):
    """A request with the dials that no verb offers."""

    about: bool = Field(
        default=True,
        description="spare English about the country of the language too, where there is such text",
    )
    enough: float = Field(default=1.1, gt=0, description="cross-entropy of the target that is enough, × ln V")
    sites_measured: int = Field(
        default=1, gt=0, description="closed-form directions measured for one part of every other source"
    )
    refine: int = Field(default=2, ge=0, description="halvings of the last step of α, in ratio")
    contrast: float = Field(default=CONTRAST, ge=0, description="κ of contrast directions")
    ridge: float = Field(default=FIND_RIDGE, gt=0, description="ρ of discriminants and sharpened parts")
    about_weight: float = Field(
        default=1.0, ge=0, description="of English about the country in other text's moments"
    )
