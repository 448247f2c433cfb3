"""The sites of a model as a table: shapes, layer types, notes, a suggested C; and what is left out, with reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from rankone.models.anatomy import fused_note
from rankone.models.sites import Site, left_out
from rankone.render.columns import Column
from rankone.render.tables import Table

COLUMNS = (
    "site",
    Column("d_out", priority=2),
    Column("d_in", priority=2),
    Column("suggested C", priority=3),
    "U and V",
    "layer",
)


def suggested_count(site: Site) -> int:
    """One subcomponent per neuron or channel: max(d_in, d_out)."""
    return max(site.d_in, site.d_out)


def site_tables(name: str, model: nn.Module, sites: Sequence[Site]) -> list[Table]:
    """The sites, the size of a decomposition with the suggested C, and the weights that are not sites."""
    rows = [_row(site) for site in sites]
    total = sum(suggested_count(s) * (s.d_in + s.d_out) for s in sites)
    caption = (
        f"{sum(s.d_in * s.d_out for s in sites):,} weights; with the suggested C "
        f"{sum(map(suggested_count, sites)):,} subcomponents, {total:,} parameters in U and V"
    )
    notes = [fused_note(site.name) for site in sites]
    columns = COLUMNS
    if any(notes):
        columns = (*COLUMNS, Column("note", priority=0))
        rows = [[*row, note] for row, note in zip(rows, notes, strict=True)]
        caption += ". A fused matrix is one site: its subcomponents may write to all of its parts"
    made = [Table.of(f"{name}: {len(sites)} sites", columns, rows, caption)]
    without = [[path, count, reason] for (path, reason), count in _grouped(left_out(model)).items()]
    return [*made, Table.of("Left out", ["weight", "count", "why"], without)] if without else made


def _row(site: Site) -> list[object]:
    count = suggested_count(site)
    entries = count * (site.d_in + site.d_out)
    # Linear, or Conv1D, which stores Wᵀ.
    layer = type(site.module).__name__
    return [site.name, site.d_out, site.d_in, count, entries, layer]


def _grouped(reasons: dict[str, str]) -> dict[tuple[str, str], int]:
    """Number of weights per (path with block numbers as *, reason)."""
    grouped: dict[tuple[str, str], int] = {}
    for name, reason in reasons.items():
        key = (re.sub(r"(?<=\.)\d+(?=\.)", "*", name), reason)
        grouped[key] = grouped.get(key, 0) + 1
    return grouped
