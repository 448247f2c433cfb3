"""Figures of the evidence, drawn from its saved tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankone.decomposition.evidence.sparsity import ALIVE_MEAN_IMPORTANCE
from rankone.decomposition.evidence.spectrum import widest_gap
from rankone.render.colours import INK, MUTED, PALETTE
from rankone.render.theme import figure, log_axes, themed

_SIZE = (6.4, 4.0)
_LINES = {"kl_ci": "CI as mask", "kl_stochastic": "stochastic", "kl_adversarial": "longest attack"}


@themed
def spectrum_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """Sorted mean importances on a logarithmic scale with the bound of alive and the widest gap; zeros left out."""
    means = sorted((row["mean_importance"] for row in rows if row["mean_importance"] > 0), reverse=True)
    fig = figure(*_SIZE, "Spectrum of mean importances", "zeros are left out")
    axes = fig.subplots()
    axes.set_xlabel("rank")
    axes.set_ylabel("mean importance")
    axes.set_yscale("log")
    axes.plot(range(1, len(means) + 1), means, color=PALETTE[1], linewidth=1.6, label="mean importance")
    axes.axhline(ALIVE_MEAN_IMPORTANCE, color=MUTED, linewidth=1.0, linestyle="--")
    axes.annotate("alive above 1e-6", (1, ALIVE_MEAN_IMPORTANCE), color=INK, va="bottom")
    gap = widest_gap(means)
    if gap is not None:
        label = f"widest gap: {gap['decades']:.1f} decades after {gap['count']:,}"
        ends = [gap["count"]] * 2, [gap["below"], gap["above"]]
        (line,) = axes.plot(*ends, color=PALETTE[0], linewidth=2.5, label=label)
        axes.legend(handles=[line])
    return fig


@themed
def frontier_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """L0 (x) against KL (y), both logarithmic, one line per kind of ablation, a point per coefficient.

    Zeros have no place on a logarithmic axis: a run that lost everything shows in the table alone.
    """
    order = sorted((row for row in rows if row["l0"] > 0), key=lambda row: row["l0"])
    fig = figure(*_SIZE, "L0 against reconstruction", "at each point: the importance coefficient")
    axes = fig.subplots()
    axes.set_xlabel("L0, subcomponents needed at a position")
    axes.set_ylabel("KL to the target, nats")
    log_axes(axes)
    for (key, label), colour in zip(_LINES.items(), (PALETTE[1], PALETTE[2], PALETTE[0]), strict=True):
        points = [row for row in order if row[key] > 0]
        x, y = [row["l0"] for row in points], [row[key] for row in points]
        axes.plot(x, y, "o-", color=colour, label=label, markersize=4)
    _name_points(axes, order)
    axes.legend()
    return fig


def _name_points(axes: Axes, rows: Sequence[dict[str, Any]]) -> None:
    """The coefficient beside each point of the lowest line."""
    near = {"xytext": (3, -9), "textcoords": "offset points"}
    for row in rows:
        if row["kl_ci"] > 0:
            axes.annotate(f"{row['activity']:.2g}", (row["l0"], row["kl_ci"]), **near)
