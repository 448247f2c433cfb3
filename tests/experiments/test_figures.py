"""What is drawn is what the tables say: offsets, heights and lines are read back from the figures."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from tests.experiments import factory

from rankone.core.errors import RankOneError
from rankone.edits.methods.registry import kinds
from rankone.experiments import figures, part_figures, tables
from rankone.experiments.names import method_styles
from rankone.metrics.wilson import wilson_interval
from rankone.render import theme
from rankone.render.colours import PALETTE
from rankone.render.values import signed

AIM = factory.AIM


def _points(axes):
    """Scatter offsets by label."""
    return {
        c.get_label(): np.asarray(c.get_offsets()) for c in axes.collections if isinstance(c, PathCollection)
    }


def _lines(axes):
    return {line.get_label(): np.column_stack(line.get_data()) for line in axes.lines}


def _sorted(pairs):
    return sorted(map(tuple, np.asarray(pairs, dtype=float).tolist()))


@pytest.fixture(scope="module")
def runs():
    return factory.runs(seeds=5, weights=(1.0, 10.0))


def test_trade_off_has_one_point_per_run_at_its_rises(runs):
    fig = figures.trade_off(runs, AIM)
    every = tables.fits(runs, AIM)
    panels = [axes for axes in fig.axes if axes.get_visible()]
    assert panels[0].get_shared_x_axes().joined(panels[0], panels[-1])
    assert panels[0].get_shared_y_axes().joined(panels[0], panels[-1])
    for axes, budget in zip(panels, (2, 4, 16, 128), strict=True):
        assert axes.get_title(loc="left") == f"{budget} German tokens"
        drawn = _points(axes)
        for method in factory.METHODS:
            got = np.concatenate([xy for name, xy in drawn.items() if name.split(" ")[0] == method])
            want = [(f.rise["de"], f.rise["en"]) for f in every if (f.method, f.budget) == (method, budget)]
            np.testing.assert_allclose(_sorted(got), _sorted(want))
        np.testing.assert_allclose(_lines(axes)["chance"][:, 0], factory.CHANCE - factory.BASE["de"])


def test_trade_off_fills_inverting_scales_and_leaves_amplifying_ones_hollow(runs):
    axes = figures.trade_off(runs, AIM).axes[0]
    kinds = {c.get_label(): c for c in axes.collections if isinstance(c, PathCollection)}
    scalar = [f for f in tables.fits(runs, AIM) if f.method == "scalar" and f.budget == 2]
    inverted = [(f.rise["de"], f.rise["en"]) for f in scalar if f.alpha < 0]
    amplified = [(f.rise["de"], f.rise["en"]) for f in scalar if f.alpha > 1]
    assert inverted
    assert amplified
    np.testing.assert_allclose(_sorted(kinds["scalar α < 0"].get_offsets()), _sorted(inverted))
    np.testing.assert_allclose(_sorted(kinds["scalar α > 1"].get_offsets()), _sorted(amplified))
    assert tuple(kinds["scalar α < 0"].get_facecolor()[0]) == to_rgba(PALETTE[0])
    assert not len(kinds["scalar α > 1"].get_facecolor())


def test_trade_off_counts_the_runs_beyond_its_right_edge(runs):
    far = [dict(row) for row in runs]
    for row in far:
        if row["domain"] == "de" and row["method"] == "lora_r1" and row["budget"] == 4 and row["seed"] == 1:
            row.update(ce=60.0, rise=60.0 - row["ce_base"])
    axes = figures.trade_off(far, AIM).axes[1]
    assert "2 beyond ▸" in [text.get_text() for text in axes.texts]
    assert axes.get_xlim()[1] < 20


def test_off_target_dots_and_means_are_those_of_the_best_setting(runs):
    fig = figures.off_target(runs, AIM)
    best = tables.best_fits(runs, AIM)
    domains = [d for d in factory.BASE if d != "de"]
    for axes, budget in zip(fig.axes, (2, 128), strict=True):
        points, lines = _points(axes), _lines(axes)
        assert len(points) == len(factory.METHODS) * len(domains)
        for method in factory.METHODS:
            for j, domain in enumerate(domains):
                want = [fit.rise[domain] for fit in best[method, budget]]
                xy = points[f"{method} {domain}"]
                np.testing.assert_allclose(xy[:, 1], want)
                assert (abs(xy[:, 0] - j) < 0.5).all()
                np.testing.assert_allclose(lines[f"mean {method} {domain}"][:, 1], np.mean(want))


def _means(runs, domains):
    """Made-up intervals at one of the two weights."""
    every = [f for f in tables.fits(runs, AIM) if f.setting.retain_weight == 10.0]
    keys = dict.fromkeys((f.method, f.budget, 10.0, d) for f in every for d in domains)
    return {key: (n / 10, n / 10 - 0.03, n / 10 + 0.05) for n, key in enumerate(keys)}


def test_trade_off_has_a_cross_at_the_mean_of_the_chosen_weight_along_its_intervals(runs):
    means = _means(runs, ("de", "en"))
    fig = figures.trade_off(runs, AIM, means)
    panels = [axes for axes in fig.axes if axes.get_visible()]
    for axes, budget in zip(panels, (2, 4, 16, 128), strict=True):
        lines = _lines(axes)
        for method in factory.METHODS:
            (x, left, right), (y, low, high) = (means[method, budget, 10.0, d] for d in ("de", "en"))
            np.testing.assert_allclose(lines[f"rise of {method}"], [(left, y), (right, y)])
            np.testing.assert_allclose(lines[f"damage of {method}"], [(x, low), (x, high)])
    bare = figures.trade_off(runs, AIM)
    assert "crosses" in fig.get_supxlabel()
    assert "crosses" not in bare.get_supxlabel()
    assert "rise of scalar" not in _lines(bare.axes[0])
    assert fig.axes[0].get_xlim() == bare.axes[0].get_xlim()  # cut at the frame that the runs set


def test_off_target_has_a_line_along_the_interval_of_each_mean(runs):
    one = [row for row in runs if row["retain_weight"] == 10.0]
    domains = [d for d in factory.BASE if d != "de"]
    means = _means(one, domains)
    del means["scalar", 2, 10.0, "fr"]
    fig = figures.off_target(one, AIM, means)
    for axes, budget in zip(fig.axes, (2, 128), strict=True):
        lines = _lines(axes)
        for method in factory.METHODS:
            for domain in domains:
                drawn = lines.get(f"interval {method} {domain}")
                if (method, budget, domain) == ("scalar", 2, "fr"):
                    assert drawn is None
                    continue
                np.testing.assert_allclose(drawn[:, 1], means[method, budget, 10.0, domain][1:])
                bar = lines[f"mean {method} {domain}"][:, 0]
                np.testing.assert_allclose(drawn[:, 0], bar.mean())
    assert "95% intervals" in fig.get_supxlabel().replace("\n", " ")


def test_off_target_counts_seeds_with_the_interval_of_their_share(runs):
    """Wilson's by itself, that over seeds and passages where it is known."""
    plain = figures.off_target(runs, AIM)
    (least, most) = (axes.get_title(loc="left").replace("\n", " ") for axes in plain.axes)
    low, high = wilson_interval(1 / 5, 5)
    assert f"LoRA rank 1 1/5 ({low:.2f} to {high:.2f})" in least
    for line in plain.axes[0].get_title(loc="left").splitlines():
        assert line.count("(") == line.count(")") == line.count("/")  # no count is parted from its interval
    assert "LoRA rank 1 5/5 (0.57 to 1.00)" in most
    assert plain.get_supxlabel().replace("\n", " ").endswith("share that succeeds, over seeds")
    wider = figures.off_target(runs, AIM, shares={("lora_r1", 2): tables.Share(1, 5, 0.01, 0.81)})
    assert "LoRA rank 1 1/5 (0.01 to 0.81)" in wider.axes[0].get_title(loc="left").replace("\n", " ")
    assert "over seeds and passages" in wider.get_supxlabel().replace("\n", " ")


def test_off_target_without_a_shared_budget_names_each_methods_own(runs):
    """A job may give every method its own budgets: each is shown at its largest."""
    largest = {"scalar": 4, "top16": 16, "lora_r1_local": 16, "lora_r1": 128}
    own = [row for row in runs if row["budget"] == largest[row["method"]]]
    (axes,) = figures.off_target(own, AIM).axes
    title = axes.get_title(loc="left").replace("\n", " ")
    assert title.endswith("LoRA rank 1, one matrix 5/5 (0.57 to 1.00) with 16 German tokens")
    assert "one scalar 5/5 (0.57 to 1.00) with 4 German tokens" in title
    best = tables.best_fits(own, AIM)
    for method, budget in largest.items():
        want = [fit.rise["fr"] for fit in best[method, budget]]
        np.testing.assert_allclose(_points(axes)[f"{method} fr"][:, 1], want)


def test_success_lines_are_the_shares_of_the_summary(runs):
    axes = figures.success_by_budget(runs, AIM).axes[0]
    lines = _lines(axes)
    for method, tallies in tables.summarise_runs(runs, AIM).items():
        want = [(budget, t.successes / t.seeds) for budget, t in tallies.items()]
        np.testing.assert_allclose(lines[method], want)
        for budget, tally in tallies.items():
            drawn = lines[f"interval {method} {budget}"]
            np.testing.assert_allclose(drawn[:, 1], wilson_interval(tally.successes / 5, 5))
            np.testing.assert_allclose(drawn[:, 0], budget, rtol=0.05)
    assert axes.get_xscale() == "log"


def test_successes_stand_at_the_tokens_of_fits_and_at_all_that_were_spent():
    shares = {
        (m, b): tables.Share(n, 5, n / 5 - 0.1, n / 5 + 0.1)
        for m, n in (("scalar", 4), ("lora_r1", 1))
        for b in (4, 32)
    }
    in_all = {(m, b): b + 1000 * (m == "scalar") for m, b in shares}
    seen, spent = figures.success_by_tokens(shares, AIM, in_all).axes
    for (method, budget), share in shares.items():
        assert [budget, share.successes / 5] in _lines(seen)[method].tolist()
        assert [in_all[method, budget], share.successes / 5] in _lines(spent)[method].tolist()
        at = _lines(spent)[f"interval {method} {in_all[method, budget]}"]
        np.testing.assert_allclose(at[:, 1], (share.low, share.high))


def test_scale_response_lines_are_the_table_for_the_picked_part_only():
    rows = factory.response()
    other = [{**row, "part": "h.1.attn.q_proj:7", "ce": 1.0, "rise": 1 - row["ce_base"]} for row in rows]
    axes = part_figures.scale_response(rows + other, factory.PICKED, factory.CHANCE, list(factory.BASE)).axes[
        0
    ]
    lines = _lines(axes)
    for domain in factory.BASE:
        want = [(row["alpha"], row["ce"]) for row in rows if row["domain"] == domain]
        np.testing.assert_allclose(lines[domain], want)
    np.testing.assert_allclose(lines["chance"][:, 1], factory.CHANCE)
    with pytest.raises(RankOneError, match="no row for part"):
        part_figures.scale_response(rows, "h.9.attn.q_proj:7", factory.CHANCE, list(factory.BASE))


def test_zero_token_bars_are_the_rises():
    rows = factory.zero_token()
    fig = part_figures.zero_token(rows, factory.CHANCE, list(factory.BASE))
    panels = [axes for axes in fig.axes if axes.get_visible()]
    edits = list(dict.fromkeys(row["edit"] for row in rows))
    for axes, edit in zip(panels, edits, strict=True):
        want = [row["rise"] for row in rows if row["edit"] == edit]
        np.testing.assert_allclose([bar.get_width() for bar in axes.patches], want)
        np.testing.assert_allclose([bar.get_x() for bar in axes.patches], 0.0)
        assert [t.get_text() for t in axes.texts] == [signed(rise) for rise in want]


def test_svg_is_reproducible_and_its_references_resolve(runs):
    first, second = (theme.svg(figures.success_by_budget(runs, AIM), "a") for _ in range(2))
    assert first == second
    import re

    ids = set(re.findall(r'\bid="([^"]+)"', first))
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', first))
    assert used
    assert {a or b for a, b in used} <= ids
    assert all(name.startswith("a-") for name in ids)


def test_names_are_drawn_literally():
    rows = [{**row, "edit": "$\\frac{1}$ \x1b[31m"} for row in factory.zero_token()[:8]]
    fig = part_figures.zero_token(rows, factory.CHANCE, list(factory.BASE))
    assert fig.axes[0].get_title(loc="left") == r"$\frac{1}$ \x1b[31m"
    assert "<svg" in theme.svg(fig, "x")


def test_labels_are_spread_apart_in_order():
    places = theme.spread([1.0, 1.0, 5.0, 1.1], 0.5)
    assert sorted(range(4), key=lambda i: places[i]) == [0, 1, 3, 2]
    assert np.diff(sorted(places)).min() >= 0.5 - 1e-9
    assert places[2] == 5.0


def test_many_keys_and_long_lines_make_a_figure_higher_and_not_the_plot_smaller():
    keys = [Line2D([], [], label=f"a method with a long name, {i}") for i in range(12)]

    def drawn(keys, title="title", note="note"):
        fig = theme.figure(3.7, 3.7, title, note, keys)
        axes = fig.subplots()
        fig.draw_without_rendering()
        return axes.get_position().height * fig.get_figheight(), fig

    plain, many = drawn(keys[:2])[0], drawn(keys)[0]
    assert many >= 0.9 * plain
    said, fig = drawn(keys, "every run by budget " * 5, "counted as success " * 5)
    assert said >= 0.9 * plain
    widest = max(text.get_window_extent().width for text in (fig._supxlabel, fig.legends[0].get_title()))
    assert widest <= fig.bbox.width


def test_no_two_methods_look_alike_and_the_first_keep_their_own_look():
    """More methods than colours: pairs of colour and marker differ, and the compared ones look as they do by themselves."""
    every = method_styles(list(kinds()))
    assert len(set(every.values())) == len(every)
    compared = ["scalar", "top16", "lora_r1", "lora_r1_local"]
    more = method_styles([*compared, "neuron", "lora_r4", "discriminant", "unheard-of"])
    assert {m: more[m] for m in compared} == method_styles(compared)
    assert len(set(more.values())) == len(more)
