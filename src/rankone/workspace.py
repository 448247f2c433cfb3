"""A workspace: a subject with its parts; what every later verb takes."""

from __future__ import annotations

from dataclasses import dataclass

from rankone.core.errors import RankOneError
from rankone.decomposition.model import Decomposition
from rankone.parts.parts import Parts
from rankone.subject import Subject


@dataclass(frozen=True)
class Workspace(Subject):
    """A subject and what its weights were opened into, on the model's device.

    parts: None where nothing but the model is needed.
    """

    parts: Parts | None = None

    @property
    def decomposition(self) -> Decomposition:
        """The parts as a decomposition; RankOneError where they are of another origin."""
        parts = self.require_parts()
        if not isinstance(parts, Decomposition):
            raise RankOneError(
                f"this needs causal importances, and {parts.origin} parts have none. Give a decomposition."
            )
        return parts

    def require_parts(self) -> Parts:
        """The parts; RankOneError where none were opened."""
        if self.parts is None:
            raise RankOneError("this needs parts of the model: open a decomposition (--decomposition DIR).")
        return self.parts
