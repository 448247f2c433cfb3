"""A toy and how it is decomposed."""

from __future__ import annotations

from pydantic import model_validator

from rankone.core.config import Config
from rankone.decomposition.config import TrainingConfig
from rankone.models.toys.config import ToyConfig


class ToyRecipe(Config):
    """A target and how it is decomposed; `decomposition.seed` is replaced by the seed of each run."""

    target: ToyConfig
    decomposition: TrainingConfig

    @model_validator(mode="after")
    def _starts_without_text(self) -> ToyRecipe:
        if self.decomposition.initialisation == "principal":
            raise ValueError(
                "decomposition.initialisation principal starts from narrow text, which a toy has not"
            )
        return self
