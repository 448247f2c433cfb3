"""Which transcoders to train, on how much text; importable without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from rankone.core.config import Config
from rankone.core.fields import Seed

Reach = Literal["per-layer", "cross-layer"]
Objective = Literal["local", "kl"]


class CoderConfig(Config):
    """One transcoder: all MLPs of a model, a dictionary for each."""

    reach: Reach = Field(
        default="per-layer",
        description="what a latent writes: its own MLP's output, or those of later layers too",
    )
    latents: int = Field(default=1024, gt=0, description="latents per layer")
    k: int = Field(default=8, gt=0, description="latents active per token and layer, on average over a batch")
    objective: Objective = Field(
        default="local",
        description="local: each MLP's output; kl: the model's prediction with all MLPs replaced",
    )
    seed: Seed = Field(default=0, description="draw of the encoder's start")

    @property
    def name(self) -> str:
        """As `per-layer-1024-k8-local-0`."""
        return f"{self.reach}-{self.latents}-k{self.k}-{self.objective}-{self.seed}"

    @model_validator(mode="after")
    def _fewer_than_all(self) -> Self:
        if self.k > self.latents:
            raise ValueError(f"k is {self.k}, and there are {self.latents} latents: k is at most that")
        return self


class TranscodersConfig(Config):
    """A training of transcoders side by side: all see the same tokens in the same order.

    Rates, clipping and the auxiliary loss are those of the published protocol (docs/circuits.md).
    """

    coders: tuple[CoderConfig, ...] = Field(min_length=1, description="the transcoders to train")
    tokens: int = Field(
        default=2_000_000, gt=0, description="training tokens; text that runs out is read again"
    )
    batch: int = Field(default=2048, gt=0, description="tokens of a step")
    context: int = Field(default=128, gt=1, description="tokens of a row")
    rate: float = Field(default=3e-4, gt=0, description="learning rate of Adam, constant")
    auxiliary: float = Field(
        default=1 / 32, ge=0, description="weight of what dead latents add to the reconstruction"
    )
    dead_after: int = Field(
        default=50, gt=0, description="steps without firing after which a latent counts as dead"
    )
    checkpoint_every: int = Field(default=250, gt=0, description="steps between two saves of the progress")
    seed: Seed = Field(default=0, description="order of the text")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [coder.name for coder in self.coders]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"the transcoder {twice[0]} is asked for twice: give each once, or another seed")
        if self.batch % self.context:
            raise ValueError(f"batch is {self.batch} tokens in rows of {self.context}: give whole rows")
        return self

    @property
    def steps(self) -> int:
        """Training steps: whole batches of the tokens, at least one."""
        return max(1, self.tokens // self.batch)


def read_recipe(path: Path) -> TranscodersConfig:
    """A recipe from YAML; RankOneError for a slip in it."""
    return TranscodersConfig.from_yaml(path)
