"""The forward that starts at the first edited site and ends before the unembedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.decomposition.check import equal_outputs
from rankone.edits.adapters import Change
from rankone.edits.fitting.passes.forward import Forward, Text, runs_of
from rankone.edits.fitting.passes.shares import shares, widths
from rankone.edits.fitting.passes.surprise import Unembedding
from rankone.edits.fitting.passes.untouched import Passing, Untouched, stand_ins, untouched, watched
from rankone.models.modules import StandIn, replaced

ROWS_AT_ONCE = 8


@dataclass(frozen=True)
class LateText:
    """Rows with what no site touches, and the targets as mean rows of the unembedding and mean biases."""

    ids: Int[Tensor, "rows t"]
    entropy: Float[Tensor, "rows t"]
    rows: Float[Tensor, "rows t d"]
    biases: Float[Tensor, "rows t"]
    kept: Mapping[str, Tensor]
    hidden: Float[Tensor, "rows t d"]

    def first(self, width: int) -> Self:
        """The same rows up to a position: what comes later is seen by none before it."""
        if width == self.ids.shape[1]:
            return self
        cut: dict[str, object] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Mapping):
                cut[field.name] = {name: kept[:, :width] for name, kept in value.items()}
            elif value is not None:
                cut[field.name] = value[:, :width]
        return replace(self, **cut)


class _HandedOn(StandIn):
    """Stands for the unembedding and hands on its input."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class LateForward(Forward):
    """A model whose linear unembedding `head` (a path) is its last layer, with stand-ins for sites and what precedes them.

    `starts_late` is False where what precedes them could not be kept.
    """

    def __init__(
        self, model: PreTrainedModel, sites: Sequence[str], head: str, few: Int[Tensor, "rows t"]
    ) -> None:
        self.model, self.sites = model, tuple(sites)
        self.calls = watched(model, few)
        self.head = Unembedding(cast(nn.Linear, model.get_submodule(head)))
        self.head_path = head
        self.passing = Passing()
        self._place(untouched(model, sites, few, self.calls))
        if not self._replays(few):
            self._place(Untouched())

    def _place(self, plan: Untouched) -> None:
        self.plan = plan
        unembedding = _HandedOn(self.model.get_submodule(self.head_path))
        stand_for = stand_ins(self.model, self.sites, plan, self.passing)
        self._placed = {self.head_path: unembedding, **stand_for}

    @property
    def starts_late(self) -> bool:
        """Whether anything is kept."""
        return bool(self.plan.kept)

    def _replays(self, few: Tensor) -> bool:
        """Whether what was kept gives the hidden states of the whole forward."""
        with torch.no_grad():
            whole, kept = self._clean(few)
            index = torch.arange(len(few), device=few.device)
            return equal_outputs(self._hidden(few, index, kept), whole)

    def _run(self, ids: Tensor) -> Float[Tensor, "rows t d"]:
        with replaced(self.model, self._placed):
            return self.model(input_ids=ids, use_cache=False).logits

    def _clean(self, ids: Tensor) -> tuple[Float[Tensor, "rows t d"], dict[str, Tensor]]:
        """Hidden states of the unchanged model, and what its stand-ins saw."""
        now = self.passing
        now.method, now.kept, now.seen = None, None, {}
        hidden = self._run(ids)
        seen, now.seen = now.seen, {}
        return hidden, seen

    def _hidden(
        self,
        ids: Tensor,
        index: Int[Tensor, " all"],
        kept: Mapping[str, Tensor],
        method: Change | None = None,
        parameters: Mapping[str, Tensor] | None = None,
    ) -> Float[Tensor, "all t d"]:
        now = self.passing
        now.kept, now.index, now.method = kept, index, method
        now.parameters, now.runs = parameters or {}, runs_of(parameters) if parameters else 1
        try:
            return self._run(ids[index])
        finally:
            now.kept = now.index = now.method = None
            now.parameters = {}

    def prepare(self, ids: Int[Tensor, "rows t"], following: bool = False) -> LateText:
        """See `Forward`."""
        with torch.no_grad():
            parts = [self._clean(rows) for rows in ids.split(ROWS_AT_ONCE)]
            hidden = torch.cat([hidden for hidden, _ in parts])
            kept = {name: torch.cat([seen[name] for _, seen in parts]) for name in parts[0][1]}
            if following:
                rows, biases = self.head.following(ids.roll(-1, dims=1).flatten())
                entropy = torch.zeros_like(biases)
            else:
                rows, biases, entropy = self.head.targets(hidden.flatten(0, 1))
        shape = ids.shape
        return LateText(
            ids, entropy.view(shape), rows.view(*shape, -1), biases.view(shape), kept, hidden.detach()
        )

    def each(
        self,
        text: Text,
        index: Int[Tensor, "own rows"],
        method: Change,
        parameters: Mapping[str, Tensor],
        scored: Bool[Tensor, "own rows t"] | None = None,
    ) -> Float[Tensor, "runs rows t"]:
        """See `Forward`. On a CPU runs whose rows end early are computed apart, up to where they end."""
        assert isinstance(text, LateText)
        # On a GPU choosing positions would wait for it, and costs more than it saves.
        if scored is None or text.ids.device.type != "cpu":
            return self._together(text, index, method, parameters)
        lengths, runs, whole = widths(scored), runs_of(parameters), text.ids.shape[1]
        sizes = shares(lengths, index.shape[1]) if len(lengths) > 1 else [runs]
        stacked = {name: parameter.split(sizes) for name, parameter in parameters.items()}
        values, start = [], 0
        for share, size in enumerate(sizes):
            these = slice(start, start + size) if len(lengths) > 1 else slice(None)
            width, some = max(lengths[these]), {name: parts[share] for name, parts in stacked.items()}
            losses = self._together(text.first(width), index[these], method, some, scored[these, :, :width])
            values.append(F.pad(losses, (0, whole - width)))
            start += size
        return torch.cat(values)

    def _together(
        self,
        text: LateText,
        index: Int[Tensor, "own rows"],
        method: Change,
        parameters: Mapping[str, Tensor],
        scored: Bool[Tensor, "own rows t"] | None = None,
    ) -> Float[Tensor, "runs rows t"]:
        """Cross-entropies of runs in one forward; 0 where nothing is scored."""
        runs = runs_of(parameters)
        rows = index.expand(runs, -1).flatten()
        hidden = self._hidden(text.ids, rows, text.kept, method, parameters).flatten(0, 1)
        if scored is None:
            values = self.head.surprise(hidden, text.rows[rows].flatten(0, 1)) - text.biases[rows].flatten()
        else:
            places = scored.expand(runs, -1, -1).flatten().nonzero().squeeze(1)
            wanted, width = rows[places // scored.shape[-1]], places % scored.shape[-1]
            some = self.head.surprise(hidden[places], text.rows[wanted, width]) - text.biases[wanted, width]
            values = some.new_zeros(len(hidden)).index_put((places,), some)
        return values.view(runs, -1, text.ids.shape[1])
