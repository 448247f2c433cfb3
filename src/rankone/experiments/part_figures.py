"""Figures of parts and untrained edits: scale response, zero-token edits."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankone.core.errors import RankOneError, nearest
from rankone.core.escaping import visible
from rankone.experiments.names import domain_colours
from rankone.experiments.tables import EditRow, ResponseRow
from rankone.render.colours import CARD, FAINT, MUTED
from rankone.render.theme import end_labels, figure, themed
from rankone.render.values import number, signed
from rankone.text.domains import domain_name

BESIDE_TEXT = (4.65, 3.1)
"""Inches of a figure that stands in half a page's width."""


@themed
def scale_response(
    rows: Sequence[ResponseRow],
    part: str,
    chance: float,
    domains: Sequence[str],
    size: tuple[float, float] = (7.6, 4.4),
) -> Figure:
    """CE per domain (nats per token) as the scale α of `part` moves; dotted at `chance` (ln V, nats) and at α = 1.

    domains: in their order, the first drawn strong. size: inches. Raises RankOneError if `response.parquet` has no row for
    `part`.
    """
    known = list(dict.fromkeys(row["part"] for row in rows))
    rows = [row for row in rows if row["part"] == part]
    if not rows:
        raise RankOneError(f"response: no row for part '{part}'.{nearest(part, known)}")
    note = "no training: only this factor moves; α = 1 is the unedited model"
    fig = figure(*size, f"CE of every domain as the scale of {visible(part)} moves", note)
    axes = fig.subplots()
    axes.axhline(chance, color=MUTED, linestyle=":", linewidth=1.2, label="chance")
    axes.axvline(1.0, color=MUTED, linestyle=":", linewidth=0.8, label="unedited")
    colours = domain_colours(domains)
    ends = [_response_line(axes, rows, domain, colours[domain], domain == domains[0]) for domain in domains]
    axes.set_xlabel("scale α")
    axes.set_ylabel("CE (nats per token)")
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.margins(x=0.01, y=0.08)
    axes.text(1.0, 0.99, " α = 1", transform=axes.get_xaxis_transform(), va="top", color=MUTED)
    texts = [(domain_name(d), colours[d]) for d in domains]
    end_labels(axes, [*ends, (axes.get_xlim()[1], chance)], [*texts, (f"chance {number(chance, 2)}", MUTED)])
    return fig


def response_key(domains: Sequence[str]) -> dict[str, str]:
    """The colour of each domain's line, by its name."""
    colours = domain_colours(domains)
    return {domain_name(d): colours[d] for d in domains}


def _response_line(
    axes: Axes, rows: Sequence[ResponseRow], domain: str, colour: str, strong: bool
) -> tuple[float, float]:
    points = sorted((row["alpha"], row["ce"]) for row in rows if row["domain"] == domain)
    x, y = zip(*points, strict=True)
    width = 2.6 if strong else 1.4
    axes.plot(x, y, color=colour, linewidth=width, marker="o", markersize=width + 0.8, label=domain)
    return points[-1]


@themed
def zero_token(
    rows: Sequence[EditRow], chance: float, domains: Sequence[str], title: str | None = None
) -> Figure:
    """One panel per edit, one bar per domain: CE rise (nats per token); dotted where the first of `domains` is at `chance`.

    title: instead of the one about edits that saw no token of the first domain.
    """
    edits, forget = list(dict.fromkeys(row["edit"] for row in rows)), domains[0]
    title = title or f"Edits that saw no {domain_name(forget)} token: CE rise by domain"
    columns = min(3, len(edits))
    lines = -(-len(edits) // columns)
    note = f"dotted: {domain_name(forget)} at chance"
    fig = figure(3.0 * columns + 0.9, (0.24 * len(domains) + 1.0) * lines + 0.9, title, note)
    grid = fig.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for i, axes in enumerate(grid):
        if i >= len(edits):
            axes.set_visible(False)
            continue
        chosen = [row for row in rows if row["edit"] == edits[i]]
        _edit_panel(axes, chosen, domains, chance)
        axes.set_title(textwrap.fill(visible(edits[i]), 36, max_lines=2))
        if i + columns >= len(edits):
            axes.set_xlabel("CE rise (nats per token)")
            axes.tick_params(labelbottom=True)
    _edit_limits(grid[0], [row["rise"] for row in rows])
    return fig


def _edit_panel(axes: Axes, rows: Sequence[EditRow], domains: Sequence[str], chance: float) -> None:
    by_domain, forget = {row["domain"]: row for row in rows}, domains[0]
    present = [d for d in domains if d in by_domain]
    places = [domains.index(d) for d in present]
    rises = [by_domain[d]["rise"] for d in present]
    colours = [domain_colours(present)[d] for d in present]
    axes.axvline(0, color=MUTED, linewidth=0.7)
    if forget in by_domain:
        axes.axvline(
            chance - by_domain[forget]["ce_base"], color=MUTED, linestyle=":", linewidth=1.2, label="chance"
        )
    axes.barh(places, rises, height=0.72, color=colours, label="rise")
    for place, rise in zip(places, rises, strict=True):
        axes.annotate(
            signed(rise),
            (max(rise, 0.0), place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            bbox={"facecolor": CARD, "edgecolor": "none", "pad": 0.6},
        )
    axes.set_yticks(range(len(domains)), [domain_name(d) for d in domains])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(domains) - 0.4, -0.6)


def _edit_limits(axes: Axes, rises: Sequence[float]) -> None:
    low, high = min(0.0, *rises), max(0.1, *rises)
    axes.set_xlim(low - 0.03 * (high - low), high + 0.17 * (high - low))
