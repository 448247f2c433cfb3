"""Interventions in the target: parts scaled or dropped at some positions, all else running on.

What a site writes becomes y + (f − 1) a_c u_c with a_c = v_c · x of the forward that is running: f = 0 drops the part, f at
all positions is the edit of the weight. Works with any parts; the remainder and all other parts stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from rankone.core.errors import RankOneError
from rankone.models.output import output_of
from rankone.parts.book import Named


@dataclass(frozen=True)
class Change:
    """A part's factor at some positions; None is all, those generated later too."""

    part: str
    factor: float
    positions: tuple[int, ...] | None = None


@contextmanager
def intervened(model: PreTrainedModel, parts: Named, changes: Sequence[Change]) -> Iterator[None]:
    """The model with these changes, for the length of the block. Positions count from the start of the row, so that a
    forward takes whole rows (no cache)."""
    by_site: dict[str, list[Change]] = {}
    for change in changes:
        by_site.setdefault(parts.locate(change.part)[0], []).append(change)
    with ExitStack() as stack:
        for site, asked in by_site.items():
            stack.enter_context(model.get_submodule(site).register_forward_hook(_hook(parts, asked)))
        yield


def changed_logits(
    model: PreTrainedModel, parts: Named, ids: Int[Tensor, " t"], changes: Sequence[Change]
) -> Float[Tensor, "t vocab"]:
    """Logits of a row under changes; RankOneError for a position outside the row."""
    for change in changes:
        for position in change.positions or ():
            if not 0 <= position < len(ids):
                raise RankOneError(f"there is no position {position}: the prompt has 0 to {len(ids) - 1}.")
    with torch.no_grad(), intervened(model, parts, changes):
        return output_of(model, ids.unsqueeze(0))[0]


def continued(
    model: PreTrainedModel, parts: Named, ids: Int[Tensor, " t"], changes: Sequence[Change], tokens: int
) -> Int[Tensor, " n"]:
    """Greedy continuation under changes, without a cache: changes at given positions stay where they are."""
    row = ids
    for _ in range(tokens):
        best = changed_logits(model, parts, row, changes)[-1].argmax()
        row = torch.cat([row, best.view(1)])
    return row[len(ids) :]


def _hook(
    parts: Named, changes: Sequence[Change]
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    pairs = [(parts.vectors(change.part), change) for change in changes]

    def after(_: nn.Module, read: tuple[Tensor, ...], out: Tensor) -> Tensor:
        x = read[0]
        moved = out
        for (v, u), change in pairs:
            added = (change.factor - 1) * (x @ v.to(x)).unsqueeze(-1) * u.to(out)
            if change.positions is not None:
                at = torch.zeros(out.shape[-2], 1, dtype=out.dtype, device=out.device)
                at[list(change.positions)] = 1
                added = added * at
            moved = moved + added
        return moved

    return after
