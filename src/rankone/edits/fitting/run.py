"""One fit: what it is given, how all fits are made, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self, TypedDict

from torch import Tensor, nn

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method
from rankone.edits.fitting.size import Sized
from rankone.edits.lowrank import LowRankEdit
from rankone.render.values import number, signed
from rankone.text.blocks import Blocks


@dataclass(frozen=True)
class Run:
    """One fit: its forget text, seed, weight λ of the retain term, learning rate, and the cap in units of ln V."""

    forget: Blocks
    seed: int
    retain_weight: float
    learning_rate: float
    margin: float = 1.0


@dataclass(frozen=True)
class Fit:
    """The outcome of one run. sized: why it has the size it has (size.py); None where it was left as it was fitted.
    diverged: its loss became NaN or infinite, and it stands where it was before. weights: of a fit within tolerances, what
    each retained domain weighed at its end (within.py). before: the fit that this one was trained from. model: what its
    edit is bound to.
    """

    run: Run = field(repr=False)
    method: Method = field(repr=False)
    parameters: dict[str, Tensor] = field(repr=False)
    steps: int
    loss: float
    sized: Sized | None = None
    diverged: bool = False
    weights: Mapping[str, float] = field(default_factory=dict[str, float])
    before: Fit | None = field(default=None, repr=False)
    model: nn.Module | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        """In a line: what was changed, and why by so much; without the loss where nothing was fitted but the size."""
        try:
            said = [self.edit.description or self.method.name]
        except RankOneError:  # of a method that changes no weights
            said = [self.method.name]
        said += [f"{self.steps} steps, loss {number(self.loss)}"] if self.steps else []
        said += ["diverged"] if self.diverged else []
        if self.sized is not None:
            by = "forget text" if self.sized.reached else "retained text"
            damage = ", ".join(f"{domain} {signed(value)}" for domain, value in self.sized.damage.items())
            said.append(f"size set by {by}; forget text at {number(self.sized.removal.mean)} nats; {damage}")
        return f"Fit({'; '.join(said)})"

    @cached_property
    def edit(self) -> LowRankEdit:
        """What was fitted, bound to the model where that is known; RankOneError of a method that changes no weights."""
        made = self.method.edit({name: value.unsqueeze(0) for name, value in self.parameters.items()}, 0)
        return made if self.model is None else made.bind(self.model)

    def bound(self, model: nn.Module) -> Self:
        """The same fit, whose edit knows the model that it was made for."""
        return replace(self, model=model)


class Described(TypedDict):
    """A fit's plain values in a results table; budget: forget tokens."""

    budget: int
    seed: int
    retain_weight: float
    learning_rate: float
    margin: float
    steps: int
