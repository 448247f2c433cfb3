"""What is drawn is what the tables say, under the theme that all figures share."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgba

from rankone.decomposition.evidence.figures import frontier_figure, spectrum_figure
from rankone.render.colours import INK
from rankone.render.theme import svg


def lines(axes):
    return {line.get_label(): np.column_stack(line.get_data()) for line in axes.lines}


def test_the_spectrum_is_sorted_and_leaves_zeros_out():
    fig = spectrum_figure([{"mean_importance": m} for m in (1e-7, 0.5, 0.0, 0.25)])
    (axes,) = fig.axes
    np.testing.assert_allclose(lines(axes)["mean importance"], [[1, 0.5], [2, 0.25], [3, 1e-7]])
    assert axes.get_yscale() == "log"
    (label,) = [text.get_text() for text in axes.get_legend().get_texts()]
    assert label == "widest gap: 6.4 decades after 2"  # log10(.25 / 1e-7) = 6.398


def test_the_frontier_has_a_line_per_ablation_in_order_of_l0():
    rows = [
        {"l0": 20.0, "kl_ci": 0.1, "kl_stochastic": 0.2, "kl_adversarial": 0.4, "activity": 1e-4},
        {"l0": 10.0, "kl_ci": 0.3, "kl_stochastic": 0.5, "kl_adversarial": 0.0, "activity": 1e-3},
        {"l0": 0.0, "kl_ci": 9.0, "kl_stochastic": 9.0, "kl_adversarial": 9.0, "activity": 1e-2},
    ]
    (axes,) = frontier_figure(rows).axes
    drawn = lines(axes)
    np.testing.assert_allclose(drawn["CI as mask"], [[10, 0.3], [20, 0.1]])
    np.testing.assert_allclose(drawn["stochastic"], [[10, 0.5], [20, 0.2]])
    np.testing.assert_allclose(drawn["longest attack"], [[20, 0.4]])
    assert [text.get_text() for text in axes.texts] == ["0.001", "0.0001"]


def test_the_theme_is_that_of_all_figures():
    fig = spectrum_figure([{"mean_importance": 0.5}])
    (axes,) = fig.axes
    assert to_rgba(axes.xaxis.label.get_color()) == to_rgba(INK)
    assert not axes.spines["top"].get_visible()
    assert svg(fig, "a") == svg(spectrum_figure([{"mean_importance": 0.5}]), "a")
