"""What is drawn is what the tables say, under the theme that all figures share."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_rgba

from rankone.decomposition.evidence.figures import spectrum_figure
from rankone.render.colours import INK
from rankone.render.theme import svg


def lines(axes):
    return {line.get_label(): np.column_stack(line.get_data()) for line in axes.lines}


def test_the_spectrum_is_sorted_and_leaves_zeros_out():
    fig = spectrum_figure([1e-7, 0.5, 0.0, 0.25])
    (axes,) = fig.axes
    np.testing.assert_allclose(lines(axes)["mean importance"], [[1, 0.5], [2, 0.25], [3, 1e-7]])
    assert axes.get_yscale() == "log"
    (label,) = [text.get_text() for text in axes.get_legend().get_texts()]
    assert label == "widest gap: 6.4 decades after 2"  # log10(.25 / 1e-7) = 6.398


def test_the_theme_is_that_of_all_figures():
    fig = spectrum_figure([0.5])
    (axes,) = fig.axes
    assert to_rgba(axes.xaxis.label.get_color()) == to_rgba(INK)
    assert not axes.spines["top"].get_visible()
    assert svg(fig, "a") == svg(spectrum_figure([0.5]), "a")
