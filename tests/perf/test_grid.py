"""The grid's hours from a slice, by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.experiments.workers.tiny import written

from perf import grid
from rankone.edits.ranking.measured import Tried
from rankone.experiments.bench.run import Benchmark
from rankone.experiments.config import read_recipe
from rankone.experiments.job import Job

CONFIG = read_recipe(grid.RECIPE, "published")


def test_hours_by_hand():
    """Five budgets up to 32 tokens cost a minute a run, four above it two: nine seeds and four weights of each."""
    rows = [
        {"method": method, "budget": budget, "seconds_per_run": seconds, "gflop_per_run": 10.0}
        for method in CONFIG.methods
        for budget, seconds in ((grid.SHORT, 60.0), (grid.LONG, 120.0))
    ]
    found = grid.hours(rows, SimpleNamespace(config=CONFIG), 1e10)
    assert found["scalar"] == pytest.approx((5 * 1 + 4 * 2) * 36 / 60)
    assert found["grid"] == pytest.approx(5 * found["scalar"])
    # Three rates on two tuning seeds at every budget; one scalar has one rate and tunes nothing.
    assert found["lora_r1, rates"] == pytest.approx((5 * 1 + 4 * 2) * 6 / 60)
    assert found["scalar, rates"] == 0.0
    # Ten GFLOP a run at ten a second.
    assert found["products of the grid's fits"] == pytest.approx(1620 / 3600)


def test_what_is_measured_is_what_a_benchmark_does(tokenizer, tmp_path, monkeypatch):
    """The steps are those of the fits of both starts; what follows them is the better ones sized and measured."""
    picked = property(lambda job: [Tried(job.workspace.require_parts().names()[0], 0.0, 1.0, 0.0)])
    monkeypatch.setattr(Job, "tried", picked)
    benchmark = Benchmark(written(tmp_path, tokenizer))
    row = grid.measured(benchmark, "scalar", 4, 2)
    assert row["steps"] == [3] * 4  # two starts, two seeds, one weight
    assert row["steps_per_run"] == 6
    assert row["seconds_per_run"] == pytest.approx(6 * row["step_seconds"] + row["rest_seconds"])
    bench, cells = benchmark.bench("scalar", grid.RETAIN, True), grid.cells(benchmark, "scalar", 4, 2)
    fits = bench.fitted(bench.runs(cells), True)
    by_hand = bench.outcomes(cells, fits, True)
    for one, other in zip(bench.run(cells, ["a", "b"], True), by_hand, strict=True):
        assert one.loss == min(of_start[by_hand.index(other)].loss for of_start in fits)
        assert one.sized.test["de"].ce == pytest.approx(other.sized.test["de"].ce)
