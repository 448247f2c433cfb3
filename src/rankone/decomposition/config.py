"""The decomposition recipe: every field changes the run or is refused."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rankone.core.config import Config
from rankone.core.fields import Seed
from rankone.core.schedule import Schedule
from rankone.decomposition.adversary.config import AdversaryConfig, PersistentConfig
from rankone.decomposition.importance.config import ImportanceConfig, SharedTransformerConfig
from rankone.decomposition.objective.config import Minimality, Reconstruction
from rankone.decomposition.parallel.machine import Machine
from rankone.decomposition.targeted.config import Targeted
from rankone.text.mix import Mixture


class TrainingConfig(Config):
    """How a decomposition is trained, whatever the target and its data."""

    sites: list[str] = Field(default_factory=lambda: ["*"], description="fnmatch patterns of sites")
    subcomponents: dict[str, int] = Field(
        default_factory=dict, description="C by pattern, first match wins; others get max(d_in, d_out)"
    )
    steps: int = Field(gt=0)
    rows: int = Field(default=16, gt=0, description="rows of `context` positions per step")
    context: int = Field(default=128, ge=1)
    seed: Seed = 0
    initialisation: Literal["aligned", "random", "principal"] = Field(
        default="aligned",
        description="one subcomponent per neuron; Gaussian; or (targeted) the narrow text's directions",
    )
    continue_from: str | None = Field(
        default=None,
        description="run directory, finished decomposition or mini-decomposition whose factors and importance function "
        "this run starts from",
    )
    warmup_steps: int = Field(
        default=0, ge=0, description="faithfulness-only AdamW steps before training (for `random`)"
    )
    importance: ImportanceConfig = SharedTransformerConfig()
    minimality: Minimality = Minimality()
    reconstruction: Reconstruction = Reconstruction()
    adversary: AdversaryConfig = PersistentConfig()
    faithfulness: float = Field(default=1e5, ge=0)
    faithfulness_scale: Literal["absolute", "relative"] = Field(
        default="absolute", description="squared error per weight, or per site as a share of its own ‖W‖²"
    )
    read_leak: float = Field(
        default=0.0, ge=0, description="coefficient of what subcomponents write where they are not important"
    )
    stray_reading: float = Field(
        default=0.0,
        ge=0,
        description="coefficient of what subcomponents read in rows where they are important nowhere",
    )
    learning_rate: Schedule = Schedule(start=5e-4, end=5e-5, shape="cosine")
    importance_learning_rate: Schedule = Schedule(start=1e-3, end=1e-4, shape="cosine")
    clip: float = Field(default=0.1, gt=0, description="gradient norm of U, V")
    importance_clip: float = Field(default=1.0, gt=0, description="gradient norm of the importance function")
    autocast: bool = Field(default=True, description="bf16 autocast")
    compile: bool = Field(default=True, description="compile the element-wise kernels")
    checkpoint_every: int = Field(default=200, gt=0)
    machine: Machine = Machine()

    @model_validator(mode="after")
    def _splits(self) -> TrainingConfig:
        parts = self.machine.accumulation
        if self.rows % parts:
            raise ValueError(f"rows is {self.rows}, which machine.accumulation, {parts}, does not divide")
        return self

    @model_validator(mode="after")
    def _reads_whole_batches(self) -> TrainingConfig:
        if self.stray_reading and self.machine.accumulation > 1:
            raise ValueError(
                f"stray_reading needs the whole batch of a process at once, and machine.accumulation is "
                f"{self.machine.accumulation}: set it to 1"
            )
        return self

    @model_validator(mode="after")
    def _reconstructs(self) -> TrainingConfig:
        recon = self.reconstruction
        if self.context % self.adversary.segments:
            raise ValueError(
                f"adversary.segments is {self.adversary.segments}, which does not divide the context of {self.context}"
            )
        if recon.stochastic + recon.adversarial == 0:
            raise ValueError(
                "reconstruction.stochastic and .adversarial are both 0: nothing would hold the output"
            )
        return self


class DecomposeConfig(TrainingConfig):
    """One decomposition run of a language model."""

    mixture: Mixture
    context: int = Field(default=128, ge=2, description="tokens per row")
    targeted: Targeted | None = Field(
        default=None, description="explain this narrow text alone; `mixture` is then the broad text"
    )

    @model_validator(mode="after")
    def _targets(self) -> DecomposeConfig:
        for wrong, why in _untargeted(self) if self.targeted is None else _mistargeted(self, self.targeted):
            if wrong:
                raise ValueError(why)
        return self


def _untargeted(config: DecomposeConfig) -> list[tuple[bool, str]]:
    """What a full decomposition cannot have: (whether it has it, what to say)."""
    principal = config.initialisation == "principal"
    return [(principal, "initialisation principal starts from narrow text: it goes with `targeted` alone")]


def _mistargeted(config: DecomposeConfig, targeted: Targeted) -> list[tuple[bool, str]]:
    """What a targeted decomposition cannot have: (whether it has it, what to say)."""
    start = config.initialisation
    return [
        (
            config.faithfulness != 0 or config.warmup_steps > 0,
            f"a targeted decomposition leaves what it does not explain to delta: set faithfulness (now "
            f"{config.faithfulness:g}) and warmup_steps (now {config.warmup_steps}) to 0",
        ),
        (
            start == "aligned",
            "initialisation aligned puts the whole matrix into subcomponents: a targeted decomposition starts "
            "principal or random",
        ),
        (config.rows < 2, "rows is 1: a targeted step needs a narrow row and a broad one"),
        (
            start != "principal" and targeted.contrast > 0,
            "targeted.contrast changes nothing without `initialisation: principal`",
        ),
    ]
