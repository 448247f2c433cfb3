"""One look for every figure: colours, markers, numbers, axes, and how a figure becomes SVG."""

from __future__ import annotations

import functools
import io
import math
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import ParamSpec

import matplotlib as mpl
import matplotlib.transforms
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from rankone.render.colours import CARD, FAINT, GROUND, INK, MUTED, text_colour

P = ParamSpec("P")

MARKERS = ("o", "^", "D", "s", "v", "P", "X", "p")
RC: dict[str, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    **dict.fromkeys(("axes.titlesize", "legend.fontsize", "xtick.labelsize", "ytick.labelsize"), 9),
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,  # a `$` in a name is a dollar sign
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "figure.facecolor": GROUND,
    "axes.facecolor": CARD,
    "legend.frameon": False,
    "svg.hashsalt": "rankone",
    "svg.fonttype": "none",
}

# Of text of 9 points, in inches: how wide a letter is, plain and bold, how high a line.
LETTER, BOLD, LINE = 0.075, 0.085, 0.21


def themed(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Draw under the theme, whatever the caller's matplotlib settings are."""

    @functools.wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(RC)  # pyright: ignore[reportCallIssue, reportArgumentType]
            return draw(*args, **kwargs)

    return wrapped


def figure(width: float, height: float, title: str, note: str, keys: Sequence[Artist] = ()) -> Figure:
    """An empty figure (inches) whose title states what is shown; it belongs to no global state.

    `keys` become a legend under the title, `note` a line at the foot. The height holds two lines of keys and one each of
    title and note; those beyond add to it.
    """
    title, note = textwrap.fill(title, int(width / BOLD)), textwrap.fill(note, int(width / LETTER))
    # A mark and the gap after it are some .55 inches wide.
    longest = max((len(str(key.get_label())) for key in keys), default=0)
    columns = max(1, min(len(keys), int(width / (LETTER * longest + 0.55))))
    lines = title.count("\n") + note.count("\n") + max(0, math.ceil(len(keys) / columns) - 2)
    fig = Figure(figsize=(width, height + LINE * lines), layout="constrained")
    if keys:
        place = {"loc": "outside upper left", "alignment": "left", "borderaxespad": 0.3, "borderpad": 0.1}
        fig.legend(
            handles=keys,
            title=title,
            title_fontproperties={"weight": "bold", "size": 9},
            ncols=columns,
            **place,
        )
    else:
        fig.suptitle(title, x=0.01, ha="left", fontsize=9, fontweight="bold")
    fig.supxlabel(note, x=0.01, ha="left", fontsize=9, color=MUTED)
    return fig


def rise_axis(axes: Axes, low: float, high: float) -> None:
    """Make y a rise axis in nats: linear up to ±0.1, logarithmic beyond, with plain tick labels."""
    axes.set_yscale("symlog", linthresh=0.1, linscale=0.8)
    axes.set_ylim(min(-0.02, low - 0.1 * abs(low)), max(0.2, 1.35 * high))
    axes.yaxis.set_major_locator(FixedLocator([-10, -1, -0.1, 0, 0.1, 0.3, 1, 3, 10, 30, 100]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))
    axes.grid(axis="y", color=FAINT, linewidth=0.5)


def log_axes(axes: Axes) -> None:
    """Make both axes logarithmic, with plain numbers at 1, 2, 3 and 5 of every decade."""
    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Move label positions apart until neighbours are at least `gap` away, keeping order and centre."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    groups: list[list[int]] = []
    starts: list[float] = []
    for i in order:
        groups.append([i])
        starts.append(values[i])
        while len(groups) > 1 and starts[-2] + gap * len(groups[-2]) > starts[-1]:
            merged = groups[-2] + groups.pop()
            groups[-1] = merged
            starts.pop()
            starts[-1] = sum(values[j] for j in merged) / len(merged) - gap * (len(merged) - 1) / 2
    places = dict.fromkeys(range(len(values)), 0.0)
    for group, start in zip(groups, starts, strict=True):
        places.update({i: start + gap * k for k, i in enumerate(group)})
    return [places[i] for i in range(len(values))]


def end_labels(axes: Axes, ends: Sequence[tuple[float, float]], texts: Sequence[tuple[str, str]]) -> None:
    """Name lines at their right ends: `ends` are (x, y) in data units, `texts` are (text, colour)."""
    low, high = axes.get_ylim()
    gap = 0.06 * (high - low)
    places = spread([y for _, y in ends], gap)
    for rank, i in enumerate(sorted(range(len(places)), key=lambda i: -places[i])):
        places[i] = min(places[i], high - gap * rank)
    side = matplotlib.transforms.blended_transform_factory(axes.transAxes, axes.transData)
    for (x, y), place, (text, colour) in zip(ends, places, texts, strict=True):
        axes.annotate(
            text,
            xy=(x, y),
            xytext=(1.03, place),
            textcoords=side,
            color=text_colour(colour),
            va="center",
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6, "shrinkA": 1},
        )


def svg(fig: Figure, prefix: str) -> str:
    """`fig` as a standalone, reproducible SVG whose ids start with `prefix`, so that many fit on one page."""
    stream = io.StringIO()
    with mpl.rc_context(RC):  # pyright: ignore[reportArgumentType]
        FigureCanvasSVG(fig).print_svg(
            stream, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"), None)
        )
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", stream.getvalue())
