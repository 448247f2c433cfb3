"""The frontier of a sweep: what L0 costs in reconstruction, a point per importance coefficient, as table and figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rankone.core.config import Record
from rankone.decomposition.config import DecomposeConfig
from rankone.decomposition.evidence.records import Evidence, Masking, kl_of
from rankone.render.colours import PALETTE
from rankone.render.tables import Table
from rankone.render.theme import figure, log_axes, themed

_SIZE = (6.4, 4.0)
_LINES = {"kl_ci": "CI as mask", "kl_stochastic": "stochastic", "kl_adversarial": "longest attack"}


class Point(Record):
    """One run of a sweep, KL with delta off in nats per token; `failures` by name, joined by commas."""

    factor: float
    activity: float
    frequency: float
    steps: int
    l0: float
    alive: int
    subcomponents: int
    kl_unmasked: float
    kl_ci: float
    kl_stochastic: float
    pgd_steps: int
    kl_adversarial: float
    failures: str


def point(factor: float, config: DecomposeConfig, evidence: Evidence) -> Point:
    """What a run with the coefficients of `config` came to; the adversary's KL at its longest rung."""
    longest = max(evidence.adversary.ladder)
    return Point(
        factor=factor,
        activity=config.minimality.activity,
        frequency=config.minimality.frequency,
        steps=config.steps,
        l0=evidence.l0_total,
        alive=evidence.alive_total,
        subcomponents=evidence.subcomponents,
        kl_unmasked=kl_of(evidence.rows, Masking.UNMASKED),
        kl_ci=kl_of(evidence.rows, Masking.CI),
        kl_stochastic=kl_of(evidence.rows, Masking.STOCHASTIC),
        pgd_steps=longest,
        kl_adversarial=kl_of(evidence.rows, Masking.ADVERSARIAL, steps=longest),
        failures=", ".join(f.name.words for f in evidence.verdict.failures if f.met is False),
    )


def sweep_table(points: Sequence[Point], out: Path) -> Table:
    """The frontier as a table; `out` is where its figure lies."""
    titles = ["×", "activity", "L0", "alive", "KL, CI as mask", "stochastic", "attacked", "failures found"]
    rows = [
        [p.factor, p.activity, p.l0, p.alive, p.kl_ci, p.kl_stochastic, p.kl_adversarial, p.failures]
        for p in points
    ]
    caption = (
        f"{points[0].steps} steps each; attacked: {points[0].pgd_steps} PGD steps; figure: {out}/frontier.svg"
    )
    return Table.of("L0 against reconstruction", titles, rows, caption)


@themed
def frontier_figure(points: Sequence[Point]) -> Figure:
    """L0 (x) against KL (y), both logarithmic, one line per kind of ablation, a point per coefficient.

    Zeros have no place on a logarithmic axis: a run that lost everything shows in the table alone.
    """
    order = sorted((row for row in points if row.l0 > 0), key=lambda row: row.l0)
    fig = figure(*_SIZE, "L0 against reconstruction", "at each point: the importance coefficient")
    axes = fig.subplots()
    axes.set_xlabel("L0, subcomponents needed at a position")
    axes.set_ylabel("KL to the target, nats")
    log_axes(axes)
    for (key, label), colour in zip(_LINES.items(), (PALETTE[1], PALETTE[2], PALETTE[0]), strict=True):
        shown = [row for row in order if getattr(row, key) > 0]
        x, y = [row.l0 for row in shown], [getattr(row, key) for row in shown]
        axes.plot(x, y, "o-", color=colour, label=label, markersize=4)
    _name_points(axes, order)
    axes.legend()
    return fig


def _name_points(axes: Axes, rows: Sequence[Point]) -> None:
    """The coefficient beside each point of the lowest line."""
    near = {"xytext": (3, -9), "textcoords": "offset points"}
    for row in rows:
        if row.kl_ci > 0:
            axes.annotate(f"{row.activity:.2g}", (row.l0, row.kl_ci), **near)
