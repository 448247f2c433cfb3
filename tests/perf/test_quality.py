"""The recipes and rows that runs of equal processor time get, and the figure of what they reached."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from perf.cases import RECIPE
from perf.quality import CLIMBING_RATE, IMPLEMENTATIONS, KL, ROWS, _batch, frontier, recipe_of

from rankone.decomposition.config import DecomposeConfig
from rankone.render.theme import svg


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_implementations_differ_in_form_and_adversary_alone(implementation):
    config, base = recipe_of(RECIPE, implementation, 0.5, 70, 3), DecomposeConfig.from_yaml(RECIPE)
    assert (config.steps, config.rows, config.seed) == (70, ROWS, 3)
    assert config.minimality.activity == base.minimality.activity / 2
    assert config.minimality.frequency == base.minimality.frequency / 2
    assert config.reconstruction.form == ("separate" if implementation in ("plain", "separate") else "merged")
    climbs = implementation in ("climbing", "renewed")
    faster = CLIMBING_RATE if climbs else base.adversary.learning_rate.start
    assert config.adversary.learning_rate.start == faster
    assert (config.adversary.lifetime is not None) == (implementation == "renewed")
    same = {"steps", "rows", "seed", "minimality", "reconstruction", "adversary"}
    assert config.model_dump(exclude=same) == base.model_dump(exclude=same)


def test_batches_go_on_from_the_start_at_the_end():
    rows = np.arange(ROWS + 2)[:, None]
    assert _batch(rows, 0).flatten().tolist() == list(range(ROWS))
    assert _batch(rows, 1).flatten().tolist() == [ROWS, ROWS + 1, *range(ROWS - 2)]


def test_the_figure_has_a_line_per_implementation_and_a_panel_per_ablation():
    rows = [
        {"implementation": name, "l0": l0, **dict.fromkeys(KL, 1 / l0)}
        for name in IMPLEMENTATIONS
        for l0 in (100.0, 300.0)
    ]
    drawn = svg(frontier(rows), "quality")
    ElementTree.fromstring(drawn)
    assert all(title in drawn for title in (*KL.values(), *IMPLEMENTATIONS))
