"""What recipes say of toy targets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rankone.core.config import Config


class ToyTraining(Config):
    """How a toy target is trained: Adam on the squared error, the rate falling linearly to 0."""

    features: int = Field(gt=1)
    probability: float = Field(gt=0, le=1, description="that a feature is active")
    steps: int = Field(gt=0)
    batch: int = Field(default=2048, gt=0)
    learning_rate: float = Field(gt=0)


class TMSConfig(ToyTraining):
    """A toy model of superposition."""

    kind: Literal["tms"]
    hidden: int = Field(gt=0)
    identity_layers: int = Field(default=0, ge=0)
    probability: float = Field(default=0.05, gt=0, le=1)
    steps: int = Field(default=2000, gt=0)
    learning_rate: float = Field(default=1e-2, gt=0)


class ResidMLPConfig(ToyTraining):
    """A residual MLP; `neurons` are shared out evenly over the blocks."""

    kind: Literal["resid_mlp"]
    width: int = Field(gt=0, description="of the residual stream")
    neurons: int = Field(gt=0)
    blocks: int = Field(default=1, gt=0)
    alone: float = Field(
        default=0.0, ge=0, le=1, description="share of training rows in which one block stands in for all"
    )
    probability: float = Field(default=0.01, gt=0, le=1)
    steps: int = Field(default=2000, gt=0)
    learning_rate: float = Field(default=3e-3, gt=0)

    @model_validator(mode="after")
    def _shares_out(self) -> ResidMLPConfig:
        if self.neurons % self.blocks:
            raise ValueError(f"{self.neurons} neurons do not share out evenly over {self.blocks} blocks")
        if self.alone and self.blocks == 1:
            raise ValueError(f"alone is {self.alone:g}, but one block is always alone: leave it out")
        return self


ToyConfig = Annotated[TMSConfig | ResidMLPConfig, Field(discriminator="kind")]
