"""The decomposition recipe: every field changes the run or is refused."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rankone.config import Config
from rankone.decomposition.importance import SharedTransformerConfig
from rankone.decomposition.minimality import Minimality
from rankone.schedule import Schedule
from rankone.text.mixture import Mixture


class Adversary(Config):
    """Persistent sources that ascend the reconstruction loss."""

    scope: Literal["bsc", "sc", "bc", "c"] = Field(
        default="bc", description="which of batch slot (b) and position (s) have sources of their own"
    )
    sources: int | None = Field(
        default=None,
        ge=1,
        description="scopes with b: number of sources along the batch, slots take turns; None is one a slot",
    )
    learning_rate: Schedule = Schedule(start=0.05, warmup=0.025)
    beta1: float = Field(default=0.5, ge=0, lt=1)
    beta2: float = Field(default=0.99, ge=0, lt=1)
    extra_ascents: int = Field(default=2, ge=0, description="ascents before each step (separate form only)")
    fraction: float = Field(
        default=0.5, ge=0, le=1, description="share of adversarial rows (merged form only)"
    )

    segments: int = Field(
        default=1, ge=1, description="scope bc: parts of a row, of equal length, with sources of their own"
    )
    lifetime: float | None = Field(
        default=None, ge=1, description="mean ascents after which a source is drawn anew; None is never"
    )

    @model_validator(mode="after")
    def _shares_slots(self) -> Adversary:
        if self.sources is not None and "b" not in self.scope:
            raise ValueError(f"scope '{self.scope}' has one source for the whole batch: leave `sources` out")
        return self


class Reconstruction(Config):
    """How the output is held under ablation."""

    form: Literal["merged", "separate"] = Field(
        default="merged",
        description="merged: a coin per row, one pass; separate: one stochastic and one adversarial pass",
    )
    stochastic: float = Field(
        default=0.5, ge=0, description="coefficient (separate), or share of the sum (merged)"
    )
    adversarial: float = Field(default=0.5, ge=0)
    routing: Literal["subset", "all", "mixed"] = Field(
        default="subset",
        description="sites masked in stochastic rows: a random subset per position, all, or by a coin per row",
    )
    sources: Literal["uniform", "corners"] = Field(
        default="uniform",
        description="stochastic sources: uniform in [0, 1]; or 0 and 1 with a probability drawn per row",
    )


class DecomposeConfig(Config):
    """One decomposition run."""

    sites: list[str] = Field(default_factory=lambda: ["*"], description="fnmatch patterns of sites")
    subcomponents: dict[str, int] = Field(
        default_factory=dict, description="C by pattern, first match wins; others get max(d_in, d_out)"
    )
    mixture: Mixture
    steps: int = Field(gt=0)
    rows: int = Field(default=16, gt=0, description="rows of `context` tokens per step")
    context: int = Field(default=128, ge=2)
    seed: int = 0
    initialisation: Literal["aligned", "random"] = "aligned"
    continue_from: str | None = Field(
        default=None,
        description="run directory whose last factors and importance function this run starts from",
    )
    warmup_steps: int = Field(
        default=0, ge=0, description="faithfulness-only AdamW steps before training (for `random`)"
    )
    importance: SharedTransformerConfig = SharedTransformerConfig()
    minimality: Minimality = Minimality()
    reconstruction: Reconstruction = Reconstruction()
    adversary: Adversary = Adversary()
    faithfulness: float = Field(default=1e5, ge=0)
    learning_rate: Schedule = Schedule(start=5e-4, end=5e-5, shape="cosine")
    importance_learning_rate: Schedule = Schedule(start=1e-3, end=1e-4, shape="cosine")
    clip: float = Field(default=0.1, gt=0, description="gradient norm of U, V")
    importance_clip: float = Field(default=1.0, gt=0, description="gradient norm of the importance function")
    autocast: bool = Field(default=True, description="bf16 autocast")
    compile: bool = Field(default=True, description="compile the element-wise kernels")
    checkpoint_every: int = Field(default=200, gt=0)

    @model_validator(mode="after")
    def _reconstructs(self) -> DecomposeConfig:
        recon = self.reconstruction
        if recon.stochastic + recon.adversarial == 0:
            raise ValueError(
                "reconstruction.stochastic and .adversarial are both 0: nothing would hold the output"
            )
        return self
