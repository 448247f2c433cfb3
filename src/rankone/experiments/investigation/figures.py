"""Figures of an investigation: rises by domain and α, and where the subcomponent is active beside where the damage falls."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rankone.core.escaping import visible
from rankone.experiments.investigation.study import SUFFERS, Investigation
from rankone.experiments.part_figures import zero_token
from rankone.experiments.tables import EditRow
from rankone.render.colours import FAINT, MUTED, PALETTE
from rankone.render.theme import figure, themed
from rankone.render.values import formatted, number
from rankone.text.domains import domain_name

_AT, _NEAR, _FAR = PALETTE[0], PALETTE[4], FAINT


def rises(study: Investigation) -> Figure:
    """One panel per α, one bar per domain: measured rise of cross-entropy (nats per token)."""
    rows = [
        EditRow(
            edit=f"α = {formatted(alpha, 'g')}",
            domain=f.domain,
            ce_base=f.ce,
            ce=f.ce + f.rises[alpha],
            rise=f.rises[alpha],
        )
        for alpha in sorted(study.config.alphas, key=lambda a: abs(a - 1))
        for f in study.findings
    ]
    title = f"Turning {visible(study.page.part)}: CE rise by domain"
    return zero_token(rows, study.chance, [f.domain for f in study.findings], title)


@themed
def activity(study: Investigation) -> Figure:
    """Left: share of tokens where it is strongly active. Right: how the damage splits over at, near and far from there."""
    names = [domain_name(f.domain) for f in study.findings]
    keys = [
        Patch(color=_AT, label="at a strong activation"),
        Patch(color=_NEAR, label="up to five later"),
        Patch(color=_FAR, label="elsewhere"),
    ]
    note = "strong: |a| above its root mean square over all domains"
    fig = figure(8.4, 0.3 * len(names) + 1.6, "Where it is active, and where its damage falls", note, keys)
    left, right = fig.subplots(1, 2, sharey=True)
    _active(left, [f.strong for f in study.findings])
    _split(right, study)
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.4, -0.6)
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
    return fig


def _active(axes: Axes, shares: list[float]) -> None:
    axes.barh(range(len(shares)), shares, height=0.72, color=_AT)
    for place, share in enumerate(shares):
        axes.annotate(
            number(share, 3),
            (share, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlim(0, 1.15 * max(1e-3, *shares))
    axes.set_xlabel("share of tokens strongly active")


def _split(axes: Axes, study: Investigation) -> None:
    """Shares of the summed rise; a part whose loss fell has none, and the others are scaled to the whole."""
    for place, f in enumerate(study.findings):
        if f.where is None:
            axes.text(0.02, place, f"rises by under {SUFFERS}", va="center", color=MUTED)
            continue
        parts = [max(0.0, p) for p in (f.where.at, f.where.near, f.where.far)]
        start = 0.0
        for part, colour in zip(parts, (_AT, _NEAR, _FAR), strict=True):
            axes.barh(place, part / sum(parts), left=start, height=0.72, color=colour)
            start += part / sum(parts)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"share of the damage at α = {formatted(study.strongest, 'g')}")
