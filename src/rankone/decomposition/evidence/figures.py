"""Figures of the evidence, drawn from its saved tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from rankone.decomposition.evidence.sparsity import ALIVE_MEAN_IMPORTANCE
from rankone.decomposition.evidence.spectrum import widest_gap

INK, ACCENT, FAINT = "#1f2328", "#0072B2", "#9aa3ab"
_SIZE = (6.4, 4.0)
# Text as outlines, and identifiers that do not change from run to run: the same table gives the same file.
_RC: dict[Any, Any] = {"svg.hashsalt": "rankone", "svg.fonttype": "path", "text.parse_math": False}


def save_svg(figure: Figure, path: Path) -> None:
    """Write a figure as SVG without a date."""
    with mpl.rc_context(_RC):
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})


def spectrum_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """Sorted mean importances on a logarithmic scale with the bound of alive and the widest gap; zeros left out."""
    means = sorted((row["mean_importance"] for row in rows if row["mean_importance"] > 0), reverse=True)
    figure, axes = _axes("rank", "mean importance", "Spectrum of mean importances")
    axes.set_yscale("log")
    axes.plot(range(1, len(means) + 1), means, color=ACCENT, linewidth=1.6)
    axes.axhline(ALIVE_MEAN_IMPORTANCE, color=FAINT, linewidth=1.0, linestyle="--")
    axes.annotate("alive above 1e-6", (1, ALIVE_MEAN_IMPORTANCE), color=INK, fontsize=8, va="bottom")
    gap = widest_gap(means)
    if gap is not None:
        label = f"widest gap: {gap['decades']:.1f} decades after {gap['count']:,}"
        axes.plot(
            [gap["count"]] * 2, [gap["below"], gap["above"]], color="#D55E00", linewidth=2.5, label=label
        )
        axes.legend(frameon=False, fontsize=8)
    return figure


def frontier_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """L0 (x) against KL (y), both logarithmic, one line per kind of ablation, a point per coefficient."""
    order = sorted(rows, key=lambda row: row["l0"])
    figure, axes = _axes(
        "L0, subcomponents needed at a position",
        "KL to the target, nats",
        "L0 against reconstruction, by importance coefficient",
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    lines = {"kl_ci": "CI as mask", "kl_stochastic": "stochastic", "kl_adversarial": "longest attack"}
    # Zeros have no place on a logarithmic axis: a run that lost everything shows in the table.
    order = [row for row in order if row["l0"] > 0]
    for (key, label), colour in zip(lines.items(), (ACCENT, "#009E73", "#D55E00"), strict=True):
        points = [(row["l0"], row[key]) for row in order if row[key] > 0]
        axes.plot(
            *zip(*points, strict=True) if points else ([], []), "o-", color=colour, label=label, markersize=4
        )
    near = {"fontsize": 7, "xytext": (3, -9), "textcoords": "offset points"}
    for row in order:
        if row["kl_ci"] > 0:
            axes.annotate(f"{row['activity']:.2g}", (row["l0"], row["kl_ci"]), **near)
    axes.legend(frameon=False, fontsize=8)
    return figure


def _axes(x: str, y: str, title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure, axes
