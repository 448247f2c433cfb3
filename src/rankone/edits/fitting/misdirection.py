"""RMU: the residual stream of the text to forget is led to a random direction, that of retained text is held.

Li et al. 2024 (WMDP), eq. 1 to 3, with the size of the direction set by the model's own activations (Dang et al. 2024), and
both terms in units of the unchanged model's squared length, so that one price serves every model. With h the residual stream
behind the last edited block, h₀ the unchanged model's and û a direction drawn for each seed:
    L = ‖h − c û‖² / ‖h₀‖² on the text to forget + λ · PRICE · ‖h − h₀‖² / ‖h₀‖² on retained text,   c = SIZE · ‖h₀‖.
Nothing of it speaks of predictions: how far the cross-entropy rises is what comes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.edits.adapters import Method, adapted, gaussian_by_seed
from rankone.edits.fitting.adam import StackedAdam
from rankone.edits.fitting.config import FitConfig
from rankone.edits.fitting.forget import ForgetText
from rankone.edits.fitting.retain import RetainText
from rankone.edits.fitting.run import Run
from rankone.models.blocks import blocks_of
from rankone.models.output import run_blocks

SIZE = 5.0
PRICE = 100.0
ROWS_AT_ONCE = 8


class Misdirection:
    """The loss of every run that is stacked, at a step; RankOneError where the sites lie in no list of blocks."""

    def __init__(
        self,
        model: PreTrainedModel,
        method: Method,
        runs: Sequence[Run],
        retain: RetainText,
        config: FitConfig,
    ) -> None:
        device = next(model.parameters()).device
        self.model, self.method, self.config, self.retain = model, method, config, retain
        self.block = last_block(model, method.sites())
        self.weights = torch.tensor([run.retain_weight for run in runs], device=device)
        self.forget = ForgetText(device, [run.forget for run in runs], "expected", config.forget_rows)
        self.held = torch.cat([self._hidden(rows) for rows in retain.ids.split(ROWS_AT_ONCE)])
        first = torch.cat([self._hidden(rows) for rows in self.forget.ids.split(ROWS_AT_ONCE)])
        self.square = first.square().sum(-1)
        drawn = gaussian_by_seed([run.seed for run in runs], first.shape[-1]).to(device)
        self.directions: Float[Tensor, "runs d"] = drawn / drawn.norm(dim=1, keepdim=True)

    def at(self, step: int, adam: StackedAdam) -> Float[Tensor, " runs"]:
        """Both terms, the second times λ."""
        return self._led(step, adam) + self.weights[adam.runs] * PRICE * self._moved(step, adam)

    def _led(self, step: int, adam: StackedAdam) -> Float[Tensor, " runs"]:
        index, scored = self.forget.rows(step, adam.runs)
        hidden = self._changed(self.forget.ids[index], adam.parameters)
        square = self.square[index]
        length = _mean(square.sqrt(), scored).view(-1, 1, 1, 1)
        goal = SIZE * length * self.directions[adam.runs].view(len(index), 1, 1, -1)
        return _mean((hidden - goal).square().sum(-1), scored) / _mean(square, scored)

    def _moved(self, step: int, adam: StackedAdam) -> Float[Tensor, " runs"]:
        rows = self.retain.rows(step, self.config.retain_rows)
        runs = len(adam.runs)
        hidden = self._changed(self.retain.ids[rows].expand(runs, -1, -1), adam.parameters)
        held, present = self.held[rows], self.retain.present[rows]
        moved = _mean((hidden - held).square().sum(-1), present.expand(runs, -1, -1))
        return moved / _mean(held.square().sum(-1).unsqueeze(0), present.unsqueeze(0))

    def _changed(
        self, ids: Int[Tensor, "runs rows t"], parameters: Mapping[str, Tensor]
    ) -> Float[Tensor, "runs rows t d"]:
        with adapted(self.model, self.method, parameters, len(ids)):
            return residual(self.model, self.block, ids.flatten(0, 1)).unflatten(0, ids.shape[:2])

    def _hidden(self, ids: Int[Tensor, "rows t"]) -> Float[Tensor, "rows t d"]:
        with torch.no_grad():
            return residual(self.model, self.block, ids)


def _mean(
    values: Float[Tensor, "runs rows t"], counted: Bool[Tensor, "runs rows t"]
) -> Float[Tensor, " runs"]:
    """Over the counted positions of each run."""
    return (values * counted).sum((1, 2)) / counted.sum((1, 2)).clamp_min(1)


def last_block(model: PreTrainedModel, sites: Sequence[str]) -> str:
    """Path of the last block that holds one of some sites; RankOneError where they lie in no list of blocks."""
    places = [blocks_of(model, [site]) for site in sites]
    known = [place for place in places if place is not None]
    if len(known) < len(places) or not known:
        raise RankOneError("the sites lie in no list of blocks: there is no residual stream behind one.")
    last = max(known, key=lambda place: place.first)
    return f"{last.path}.{last.first}"


class _Reached(Exception):
    """The forward is as far as it is wanted."""


def residual(model: PreTrainedModel, block: str, ids: Int[Tensor, "rows t"]) -> Float[Tensor, "rows t d"]:
    """The residual stream behind a block; what comes after it is not run."""
    seen: list[Tensor] = []

    def reached(module: nn.Module, given: object, gave: Tensor | tuple[Tensor, ...]) -> None:
        del module, given
        seen.append(gave if isinstance(gave, Tensor) else gave[0])
        raise _Reached

    with model.get_submodule(block).register_forward_hook(reached), suppress(_Reached):
        run_blocks(model, ids)
    return seen[0]
