"""The rows of many short texts in few forwards: a forward of eight rows costs little more than one of one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from rankone.text.blocks import Blocks


@dataclass(frozen=True, eq=False)
class Portion:
    """Rows that are computed at once, and of each the domain that it is of."""

    blocks: Blocks
    domains: tuple[str, ...]


def portions(text: Mapping[str, Blocks], positions: int) -> list[Portion]:
    """All rows in the order of the domains, at most `positions` token positions together, but at least a row.

    Shorter rows are filled at their right with positions that do not count; those before do not see them.
    """
    rows = [
        (domain, Blocks(blocks.ids[i : i + 1], blocks.valid[i : i + 1]))
        for domain, blocks in text.items()
        for i in range(len(blocks.ids))
    ]
    width = max((row.ids.shape[1] for _, row in rows), default=1)
    size = max(1, positions // width)
    return [_stacked(rows[start : start + size]) for start in range(0, len(rows), size)]


def _stacked(rows: list[tuple[str, Blocks]]) -> Portion:
    width = max(row.ids.shape[1] for _, row in rows)
    ids, valid = (
        torch.cat([F.pad(side, (0, width - side.shape[1])) for side in sides])
        for sides in ([row.ids for _, row in rows], [row.valid for _, row in rows])
    )
    return Portion(Blocks(ids, valid), tuple(domain for domain, _ in rows))
