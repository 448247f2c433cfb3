"""Figures of subcomponents and untrained edits: scale response, zero-token edits."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankone.core.errors import RankOneError, nearest
from rankone.core.escaping import visible
from rankone.experiments.names import domain_colours
from rankone.experiments.tables import Row, domains_of
from rankone.render.colours import CARD, FAINT, MUTED
from rankone.render.theme import end_labels, figure, themed
from rankone.render.values import number, signed
from rankone.text.domains import domain_name


@themed
def scale_response(rows: Sequence[Row], component: str, chance: float, forget: str, retain: str) -> Figure:
    """CE per domain (nats per token) as the scale α of `component` moves; dotted at `chance` and at α = 1.

    Raises RankOneError if `response.parquet` has no row for `component`.
    """
    known = list(dict.fromkeys(row["component"] for row in rows))
    rows = [row for row in rows if row["component"] == component]
    if not rows:
        raise RankOneError(f"response: no row for component '{component}'.{nearest(component, known)}")
    domains = domains_of(rows, forget, retain)
    note = "no training: only this factor moves; α = 1 is the unedited model"
    fig = figure(7.6, 4.4, f"CE of every domain as the scale of {visible(component)} moves", note)
    axes = fig.subplots()
    axes.axhline(chance, color=MUTED, linestyle=":", linewidth=1.2, label="chance")
    axes.axvline(1.0, color=MUTED, linestyle=":", linewidth=0.8, label="unedited")
    colours = domain_colours(domains)
    ends = [_response_line(axes, rows, domain, colours[domain], domain == forget) for domain in domains]
    axes.set_xlabel("scale α")
    axes.set_ylabel("CE (nats per token)")
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.margins(x=0.01, y=0.08)
    axes.text(1.0, 0.99, " α = 1", transform=axes.get_xaxis_transform(), va="top", color=MUTED)
    texts = [(domain_name(d), colours[d]) for d in domains]
    end_labels(axes, [*ends, (axes.get_xlim()[1], chance)], [*texts, (f"chance {number(chance, 2)}", MUTED)])
    return fig


def _response_line(
    axes: Axes, rows: Sequence[Row], domain: str, colour: str, strong: bool
) -> tuple[float, float]:
    points = sorted((row["alpha"], row["ce"]) for row in rows if row["domain"] == domain)
    x, y = zip(*points, strict=True)
    width = 2.6 if strong else 1.4
    axes.plot(x, y, color=colour, linewidth=width, marker="o", markersize=width + 0.8, label=domain)
    return points[-1]


@themed
def zero_token(
    rows: Sequence[Row], chance: float, forget: str, retain: str, title: str | None = None
) -> Figure:
    """One panel per edit, one bar per domain: CE rise (nats per token); dotted at `chance`.

    title: instead of the one about edits that saw no forget token.
    """
    edits = list(dict.fromkeys(row["edit"] for row in rows))
    domains = domains_of(rows, forget, retain)
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
        _edit_panel(axes, chosen, domains, chance, forget)
        axes.set_title(textwrap.fill(visible(edits[i]), 36, max_lines=2))
        if i + columns >= len(edits):
            axes.set_xlabel("CE rise (nats per token)")
            axes.tick_params(labelbottom=True)
    _edit_limits(grid[0], [row["rise"] for row in rows])
    return fig


def _edit_panel(axes: Axes, rows: Sequence[Row], domains: Sequence[str], chance: float, forget: str) -> None:
    found = {row["domain"]: row for row in rows}
    present = [d for d in domains if d in found]
    places = [domains.index(d) for d in present]
    rises = [found[d]["rise"] for d in present]
    colours = [domain_colours(present)[d] for d in present]
    axes.axvline(0, color=MUTED, linewidth=0.7)
    if forget in found:
        axes.axvline(
            chance - found[forget]["ce_base"], color=MUTED, linestyle=":", linewidth=1.2, label="chance"
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
