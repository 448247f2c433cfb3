"""The grid's hours from a slice, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from perf import grid
from rankone.experiments.config import read_recipe


def test_hours_by_hand():
    """Five budgets up to 32 tokens cost a minute a run, four above it two: nine seeds and four weights of each."""
    rows = [
        {"method": method, "budget": budget, "seconds_per_run": seconds, "gflop_per_run": 10.0}
        for method in grid.METHODS
        for budget, seconds in ((grid.SHORT, 60.0), (grid.LONG, 120.0))
    ]
    config = read_recipe(grid.RECIPE)
    found = grid.hours(rows, SimpleNamespace(config=config), 1e10)
    assert found["scalar"] == pytest.approx((5 * 1 + 4 * 2) * 36 / 60)
    assert found["grid"] == pytest.approx(5 * found["scalar"])
    # Two rates on two tuning seeds at every budget; one scalar has one rate and tunes nothing.
    assert found["lora_r1, rates"] == pytest.approx((5 * 1 + 4 * 2) * 4 / 60)
    assert found["scalar, rates"] == 0.0
    # Ten GFLOP a run at ten a second.
    assert found["products of the grid's fits"] == pytest.approx(1620 / 3600)


def test_the_grid_is_the_published_one():
    config = read_recipe(grid.RECIPE)
    assert len(grid.METHODS) * len(config.budgets) * config.seeds * len(config.weights) == 1620
