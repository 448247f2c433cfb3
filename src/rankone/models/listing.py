"""The sites of a model as a table: shapes, layer types, notes, a suggested C; and what is left out, with reasons."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from rankone.models.anatomy import fused_note
from rankone.models.sites import Site, left_out
from rankone.render.tables import Table
from rankone.render.terminal import print_table
from rankone.runtime.progress import console

COLUMNS = ["site", "d_out", "d_in", "suggested C", "U and V", "layer", "note"]


def suggested_count(site: Site) -> int:
    """One subcomponent per neuron or channel: max(d_in, d_out)."""
    return max(site.d_in, site.d_out)


def print_sites(name: str, model: nn.Module, sites: Sequence[Site]) -> None:
    """Print the sites, the size of a decomposition with the suggested C, and the weights that are no sites."""
    rows = [_row(site) for site in sites]
    total = sum(suggested_count(s) * (s.d_in + s.d_out) for s in sites)
    caption = (
        f"{sum(s.d_in * s.d_out for s in sites):,} weights; with the suggested C "
        f"{sum(map(suggested_count, sites)):,} subcomponents, {total:,} parameters in U and V"
    )
    if any(fused_note(s.name) for s in sites):
        caption += ". A fused matrix is one site: its subcomponents may write to all of its parts"
    print_table(Table.of(f"{name}: {len(sites)} sites", COLUMNS, rows, caption))
    grouped = _grouped(left_out(model))
    if grouped:
        console.print("\nLeft out", style="bold")
    for (path, reason), count in grouped.items():
        console.print(f"  {path} ({count}): {reason}", markup=False, soft_wrap=True)


def _row(site: Site) -> list[object]:
    count = suggested_count(site)
    entries = f"{count * (site.d_in + site.d_out):,}"
    # Linear, or Conv1D, which stores Wᵀ.
    layer = type(site.module).__name__
    return [site.name, site.d_out, site.d_in, count, entries, layer, fused_note(site.name)]


def _grouped(reasons: dict[str, str]) -> dict[tuple[str, str], int]:
    """Number of weights per (path with block numbers as *, reason)."""
    grouped: dict[tuple[str, str], int] = {}
    for name, reason in reasons.items():
        key = (re.sub(r"(?<=\.)\d+(?=\.)", "*", name), reason)
        grouped[key] = grouped.get(key, 0) + 1
    return grouped
