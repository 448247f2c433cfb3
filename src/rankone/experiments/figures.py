"""Figures of the fitted edits, drawn from `runs.parquet`: trade-off, off-target damage, success by budget."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from rankone.edits.fitting.aim import CHANCE_SHARE, Aim
from rankone.experiments.names import domain_names, method_name, method_order, method_styles
from rankone.experiments.tables import (
    DAMAGE_BAR,
    Fit,
    Means,
    RunRow,
    Share,
    Shares,
    best_fits,
    compared_budgets,
    domains_of,
    fits,
    summarise_runs,
)
from rankone.render.colours import CARD, FAINT, MUTED, SUCCESS
from rankone.render.theme import end_labels, figure, rise_axis, themed
from rankone.text.domains import domain_name

_HARD = "\N{NO-BREAK SPACE}"
_SIGNS = {"α < 0": "full", "0 ≤ α ≤ 1": "pale", "α > 1": "hollow", "": "full"}


@themed
def trade_off(rows: Sequence[RunRow], aim: Aim, means: Means | None = None) -> Figure:
    """One panel per budget, one point per run: forget CE rise (x) against the worst retain CE rise (y), nats per token.

    means: a cross at the mean of a method's runs, as long and high as its intervals, cut at the frame.
    Runs more than 1.8 times as far as chance are counted and marked at the right
    edge. Scalar runs are filled where α < 0, pale where 0 ≤ α ≤ 1, hollow where α > 1.
    """
    every, forget = fits(rows, aim), aim.domain
    budgets = sorted({fit.budget for fit in every})
    columns = _columns(len(budgets))
    lines = math.ceil(len(budgets) / columns)
    title = (
        f"Removing {domain_name(forget)} against damage to {domain_names(aim.retain)}: every run, by budget"
    )
    note = "y is linear up to 0.1 and logarithmic beyond; shaded: counted as success"
    note += (
        "; crosses: means at the chosen λ and their 95% intervals over seeds and passages" if means else ""
    )
    width = max(6.0, min(3.3, 9.5 / columns) * columns) + 0.4
    fig = figure(width, 2.4 * lines + 1.3, title, note, list(_method_keys(every)))
    grid = fig.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flatten().tolist()
    target = aim.chance - next(row["ce_base"] for row in rows if row["domain"] == forget)
    for axes, budget in zip(grid, budgets, strict=False):
        group = [fit for fit in every if fit.budget == budget]
        _trade_off_panel(axes, group, target, aim)
        _crosses(axes, group, aim, means or {})
        axes.set_title(f"{budget:,} {domain_name(forget)} tokens")
    _trade_off_axes(grid, len(budgets), columns, every, target, aim)
    return fig


def _columns(panels: int) -> int:
    """Columns of a grid: at most four, as few empty places as can be."""
    if panels <= 4:
        return 2 if panels == 4 else panels
    return min((3, 4), key=lambda columns: -panels % columns)


def _trade_off_panel(axes: Axes, group: list[Fit], target: float, aim: Aim) -> None:
    needed = target - (1 - CHANCE_SHARE) * aim.chance
    axes.add_patch(Rectangle((needed, -100), 1e3, 100 + DAMAGE_BAR, facecolor=SUCCESS, zorder=0))
    axes.axvline(target, color=MUTED, linestyle=":", linewidth=1.2, label="chance")
    for (method, sign), fitted in _by_sign(group).items():
        points = [(fit.rise[aim.domain], aim.worst(fit.rise)) for fit in fitted]
        _scatter(axes, points, method, sign, method_styles([f.method for f in group])[method])
    beyond = sum(fit.rise[aim.domain] > 1.8 * target for fit in group)
    if beyond:
        axes.text(
            0.99, 0.97, f"{beyond} beyond ▸", transform=axes.transAxes, ha="right", va="top", color=MUTED
        )


def _crosses(axes: Axes, group: Sequence[Fit], aim: Aim, means: Means) -> None:
    # The frame is set by the runs.
    styles = method_styles([fit.method for fit in group])
    for method, budget, weight in dict.fromkeys((f.method, f.budget, f.setting.retain_weight) for f in group):
        held = [means[at] for d in aim.retain if (at := (method, budget, weight, d)) in means]
        if not held or (forget := (method, budget, weight, aim.domain)) not in means:
            continue
        (x, left, right), (y, low, high) = means[forget], max(held)
        look = {"color": styles[method][0], "linewidth": 1.1, "zorder": 4}
        axes.plot([left, right], [y, y], label=f"rise of {method}", **look)
        axes.plot([x, x], [low, high], label=f"damage of {method}", **look)


def _by_sign(group: Sequence[Fit]) -> dict[tuple[str, str], list[Fit]]:
    """Fits by method and by which way their scale went; methods without one scale have no sign."""
    by_sign: dict[tuple[str, str], list[Fit]] = {}
    for fit in group:
        by_sign.setdefault((fit.method, _sign(fit.alpha)), []).append(fit)
    order = method_order([fit.method for fit in group])
    return dict(sorted(by_sign.items(), key=lambda item: (-order.index(item[0][0]), item[0][1])))


def _sign(alpha: float | None) -> str:
    if alpha is None:
        return ""
    return "α < 0" if alpha < 0 else "α > 1" if alpha > 1 else "0 ≤ α ≤ 1"


def _fill(sign: str, colour: str) -> str:
    return {"full": colour, "pale": colour + "55", "hollow": "none"}[_SIGNS[sign]]


def _scatter(
    axes: Axes, points: list[tuple[float, float]], method: str, sign: str, style: tuple[str, str]
) -> None:
    colour, marker = style
    x, y = zip(*points, strict=True)
    edge = CARD if _SIGNS[sign] == "full" else colour
    label = f"{method} {sign}".strip()
    width = 0.4 if edge == CARD else 1.1
    face = _fill(sign, colour)
    axes.scatter(
        x, y, s=26, marker=marker, facecolors=face, edgecolors=edge, linewidths=width, label=label, zorder=3
    )


def _trade_off_axes(
    grid: Sequence[Axes], used: int, columns: int, every: list[Fit], target: float, aim: Aim
) -> None:
    forget, rises = aim.domain, [aim.worst(fit.rise) for fit in every]
    right = max([target, *(fit.rise[forget] for fit in every if fit.rise[forget] <= 1.8 * target)])
    left = min(0.0, *(fit.rise[forget] for fit in every))
    for i, axes in enumerate(grid):
        if i >= used:
            axes.set_visible(False)
            continue
        rise_axis(axes, min(rises), max(rises))
        axes.set_xlim(left - 0.03 * target, 1.06 * right)
        if i % columns == 0:
            axes.set_ylabel(f"{domain_names(aim.retain)} CE rise\n(nats per token)")
        if i + columns >= used:
            axes.set_xlabel(f"{domain_name(forget)} CE rise (nats per token)")
            axes.tick_params(labelbottom=True)
    grid[0].text(
        target, 0.98, "chance ", ha="right", va="top", color=MUTED, transform=grid[0].get_xaxis_transform()
    )


def _method_keys(every: Sequence[Fit]) -> Iterator[Line2D]:
    styles = method_styles([fit.method for fit in every])
    keys = _by_sign(every)
    for method in styles:
        for sign in (s for m, s in keys if m == method):
            name = f"{method_name(method)}, {sign}" if sign else method_name(method)
            yield _key(method, styles[method], _fill(sign, styles[method][0]), name)


@themed
def off_target(
    rows: Sequence[RunRow], aim: Aim, means: Means | None = None, shares: Shares | None = None
) -> Figure:
    """CE rise (nats per token) of every domain but the one to forget: a dot per seed and method, a bar at the mean.

    means: with a line along the interval of the mean, cut at the frame. shares: of the seeds that succeed, else with
    Wilson's intervals, over seeds alone.
    One panel per comparison (`tables.compared_budgets`); the fits are those of each method's best setting
    (`tables.best_fits`).
    """
    tallies, forget = summarise_runs(rows, aim), aim.domain
    compared = compared_budgets(tallies)
    methods = method_order(list(tallies))
    domains = [name for name in domains_of(rows, aim) if name != forget]
    best = best_fits(rows, aim)
    title = f"What else changed: CE rise outside {domain_name(forget)}, a dot per seed, a bar at the mean"
    note = "y is linear up to 0.1 and logarithmic beyond; dotted: the 0.1-nat bar for the retain domain"
    note += "; in brackets: 95% interval of the share that succeeds, over seeds"
    note += " and passages" if shares else ""
    note += "; lines through the bars: 95% intervals of the means over seeds and passages" if means else ""
    width = min(9.6, max(6.5, 0.28 * len(domains) * (len(methods) + 1.2) + 1.4))
    keys = [_key(method, style) for method, style in method_styles(methods).items()]
    fig = figure(width, 2.5 * len(compared) + 1.3, title, note, keys)
    grid = fig.subplots(len(compared), 1, sharex=True, sharey=True, squeeze=False).flatten().tolist()
    rises: list[float] = []
    for axes, budgets in zip(grid, compared, strict=True):
        groups = {m: best[m, budgets[m]] for m in methods}
        _off_target_panel(axes, groups, domains, means or {})
        counts = {m: (shares or {}).get((m, budgets[m])) or tallies[m][budgets[m]].share for m in methods}
        axes.set_title(_panel_title(counts, budgets, domain_name(forget), width))
        rises += [f.rise[d] for group in groups.values() for f in group for d in domains if d in f.rise]
    _off_target_axes(grid, rises, domains, aim)
    return fig


def budgets_named(budgets: Mapping[str, int]) -> str:
    """The one budget of a comparison, or each method's own."""
    shared = set(budgets.values())
    if len(shared) == 1:
        return f"{shared.pop():,}"
    return "; ".join(f"{method_name(m)} {budgets[m]:,}" for m in method_order(list(budgets)))


def _key(method: str, style: tuple[str, str], face: str | None = None, name: str = "") -> Line2D:
    colour, marker = style
    label = name or method_name(method)
    return Line2D(
        [], [], color=colour, marker=marker, linestyle="", markerfacecolor=face or colour, label=label
    )


def _panel_title(counts: Mapping[str, Share], budgets: Mapping[str, int], forget: str, width: float) -> str:
    """The budget and the successes; where every method has a budget of its own, each with its own. width: inches."""
    # A count is not parted from its interval.
    said = {m: f"{method_name(m)} {count.said.replace(' ', _HARD)}" for m, count in counts.items()}
    if len(set(budgets.values())) == 1:
        text = f"{budgets_named(budgets)} {forget} tokens; succeeded: {'; '.join(said.values())}"
    else:
        text = "succeeded: " + "; ".join(
            f"{words} with {budgets[m]:,} {forget} tokens" for m, words in said.items()
        )
    return textwrap.fill(text, int(11 * width), break_on_hyphens=False).replace(_HARD, " ")


def _off_target_panel(axes: Axes, groups: dict[str, list[Fit]], domains: Sequence[str], means: Means) -> None:
    step = 0.8 / len(groups)
    for i, (method, (colour, marker)) in enumerate(method_styles(list(groups)).items()):
        for j, domain in enumerate(domains):
            rises = [fit.rise[domain] for fit in groups[method] if domain in fit.rise]
            if not rises:
                continue
            centre = j + (i - (len(groups) - 1) / 2) * step
            x = [centre + step * _jitter(k) for k in range(len(rises))]
            axes.scatter(
                x,
                rises,
                s=15,
                marker=marker,
                color=colour,
                alpha=0.6,
                linewidths=0,
                label=f"{method} {domain}",
            )
            mean = sum(rises) / len(rises)
            span = [centre - 0.38 * step, centre + 0.38 * step]
            axes.plot(span, [mean, mean], color=colour, linewidth=2, label=f"mean {method} {domain}")
            first = groups[method][0]
            if place := means.get((method, first.budget, first.setting.retain_weight, domain)):
                label = f"interval {method} {domain}"
                axes.plot([centre] * 2, place[1:], color=colour, linewidth=1.1, zorder=4, label=label)


def _jitter(k: int) -> float:
    """A repeatable offset in [-0.3, 0.3): the golden-ratio sequence, evenly spread for any count."""
    return 0.6 * ((0.5 + 0.618034 * k) % 1.0) - 0.3


def _off_target_axes(grid: Sequence[Axes], rises: Sequence[float], domains: Sequence[str], aim: Aim) -> None:
    for axes in grid:
        rise_axis(axes, min(rises), max(rises))
        axes.set_ylabel("CE rise\n(nats per token)")
        axes.axhline(DAMAGE_BAR, color=MUTED, linestyle=":", linewidth=1.2)
        for j in range(1, len(domains)):
            axes.axvline(j - 0.5, color=FAINT, linewidth=0.6)
        axes.set_xlim(-0.5, len(domains) - 0.5)
        names = [domain_name(d) + ("\n(retain)" if d in aim.retain else "") for d in domains]
        axes.set_xticks(range(len(domains)), names)
        axes.tick_params(axis="x", length=0)


@themed
def success_by_budget(rows: Sequence[RunRow], aim: Aim) -> Figure:
    """Share of seeds that succeed, per method, against the budget in forget tokens (logarithmic); Wilson's 95% intervals."""
    tallies = summarise_runs(rows, aim)
    counts = {(m, b): t.share for m, by_budget in tallies.items() for b, t in by_budget.items()}
    fig = figure(4.65, 2.9, *_success_words(aim, "seeds (Wilson)"))
    axes = fig.subplots()
    ends = _success_lines(axes, counts, {at: at[1] for at in counts})
    _share_axes(axes, sorted({budget for _, budget in counts}), f"budget ({domain_name(aim.domain)} tokens)")
    end_labels(axes, [end for end, _ in ends], [name for _, name in ends])
    return fig


@themed
def success_by_tokens(shares: Shares, aim: Aim, in_all: Mapping[tuple[str, int], int]) -> Figure:
    """Share of seeds that succeed, per method, against the tokens that its fits saw, and against all that were spent.

    shares: with 95% intervals over seeds and passages. in_all: by method and budget all tokens of the text to forget.
    """
    forget = domain_name(aim.domain)
    keys = [_key(m, style) for m, style in method_styles(list(dict.fromkeys(m for m, _ in shares))).items()]
    fig = figure(8.6, 3.6, *_success_words(aim, "seeds and passages"), keys)
    seen, spent = fig.subplots(1, 2, sharey=True).flatten().tolist()
    _success_lines(seen, shares, {at: at[1] for at in shares})
    _share_axes(seen, sorted({budget for _, budget in shares}), f"{forget} tokens that fits saw")
    _success_lines(spent, shares, in_all)
    least, most = (math.log10(end(in_all[at] for at in shares)) for end in (min, max))
    tens = [10**k for k in range(math.floor(least), math.ceil(most) + 1)]
    _share_axes(spent, tens, f"all {forget} tokens, those before any fit too")
    spent.set_ylabel("")
    return fig


def _success_words(aim: Aim, over: str) -> tuple[str, str]:
    """Title and note. over: what the intervals are over."""
    forget = domain_name(aim.domain)
    return (
        f"How many {forget} tokens each method needs",
        f"success: {forget} CE ≥ {CHANCE_SHARE} × chance and {domain_names(aim.retain)} rise "
        f"< {DAMAGE_BAR} nats;\ndotted: 8 of 9 seeds; upright: 95% intervals over {over}",
    )


def _success_lines(
    axes: Axes, counts: Shares, place: Mapping[tuple[str, int], int]
) -> list[tuple[tuple[float, float], tuple[str, str]]]:
    """A line per method: its shares at their places on the x axis. Where each ends, its name and colour."""
    methods = method_styles(list(dict.fromkeys(method for method, _ in counts)))
    axes.set_xscale("log", base=2)
    axes.axhline(8 / 9, color=MUTED, linestyle=":", linewidth=1.2, label="8 of 9")
    ends = []
    for i, (method, (colour, marker)) in enumerate(methods.items()):
        ran = {place[at]: share for at, share in counts.items() if at[0] == method}
        x, y = list(ran), [share.successes / share.seeds for share in ran.values()]
        width = max(1.2, 5.0 - 1.2 * i)  # later lines are thinner, so that lines that coincide all show
        axes.plot(x, y, color=colour, marker=marker, markersize=4 + width, linewidth=width, label=method)
        for budget, share in ran.items():
            beside = budget * 1.03 ** (i - (len(methods) - 1) / 2)
            label = f"interval {method} {budget}"
            axes.plot([beside] * 2, share[2:], color=colour, linewidth=0.9, alpha=0.7, label=label)
        ends.append(((x[-1], y[-1]), (method_name(method), colour)))
    return ends


def _share_axes(axes: Axes, budgets: Sequence[int], label: str) -> None:
    axes.set_ylim(-0.04, 1.06)
    axes.set_xlim(budgets[0] / 1.2, budgets[-1] * 1.2)
    axes.xaxis.set_major_locator(FixedLocator(budgets))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.set_xlabel(label)
    axes.set_ylabel("seeds that succeed")
