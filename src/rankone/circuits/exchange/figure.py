"""What a graph said of removing a node against what happened, as a figure."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from rankone.circuits.records import RULES, Agreement, Removal
from rankone.render.colours import FAINT, PALETTE
from rankone.render.figures import Drawing, drawing
from rankone.render.theme import figure, themed


@themed
def _scatter(removals: Sequence[Removal], agreement: Sequence[Agreement]) -> Figure:
    note = "each point a node taken out alone; on the line what was predicted is what happened"
    fig = figure(7.6, 3.4, "Predicted against measured", note)
    for i, effect in enumerate(("direct", "full")):
        axes = fig.add_subplot(1, 2, i + 1)
        done = [getattr(r, effect) for r in removals]
        for rule, colour, mark in zip(RULES, PALETTE, "os", strict=False):
            said = [getattr(r, f"predicted_{effect}")[rule] for r in removals]
            r = next(a.pearson for a in agreement if a.rule == rule and a.effect == effect)
            axes.scatter(
                said,
                done,
                s=16,
                color=colour,
                marker=mark,
                label=f"{rule}, r = {r:.2f}",
                alpha=0.8,
                linewidth=0,
            )
        axes.axline((0, 0), slope=1, color=FAINT, linewidth=1, zorder=0)
        axes.set_xlabel("predicted (logits)")
        axes.set_ylabel("measured" if i == 0 else "")
        axes.set_title("other matrices held" if effect == "direct" else "the model running on", fontsize=9)
        axes.legend(frameon=False, fontsize=8)
    return fig


def agreement_drawing(removals: Sequence[Removal], agreement: Sequence[Agreement]) -> Drawing:
    """The figure, and in words what it shows."""
    said = "; ".join(f"{a.rule}, {a.effect}: r = {a.pearson:.2f}, slope {a.slope:.2f}" for a in agreement)
    alt = f"Change of the output predicted by the graph against the measured change, {len(removals)} nodes. {said}."
    return drawing(
        _scatter(removals, agreement),
        "agreement",
        alt,
        "Change of the first output where a node is taken out.",
    )
