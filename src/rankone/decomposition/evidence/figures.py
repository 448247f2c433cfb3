"""Figure of the evidence, drawn from its saved table."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from rankone.decomposition.evidence.sparsity import ALIVE_MEAN_IMPORTANCE
from rankone.decomposition.evidence.spectrum import widest_gap
from rankone.render.colours import INK, MUTED, PALETTE
from rankone.render.theme import figure, themed

_SIZE = (6.4, 4.0)


@themed
def spectrum_figure(mean_importances: Sequence[float]) -> Figure:
    """Sorted mean importances on a logarithmic scale with the bound of alive and the widest gap; zeros left out."""
    means = sorted((m for m in mean_importances if m > 0), reverse=True)
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
        label = f"widest gap: {gap.decades:.1f} decades after {gap.count:,}"
        ends = [gap.count] * 2, [gap.below, gap.above]
        (line,) = axes.plot(*ends, color=PALETTE[0], linewidth=2.5, label=label)
        axes.legend(handles=[line])
    return fig
