"""A grid that is broken off: what runs first, the page of what is there, and nothing of it run again."""

from __future__ import annotations

import hashlib
from itertools import groupby

import pytest
import yaml
from tests.experiments.workers.tiny import CONFIG, written

import rankone
from rankone.core.errors import RankOneError
from rankone.experiments.bench import run as run_module
from rankone.experiments.bench.cells import facts_of, grid_cells
from rankone.experiments.bench.run import RUNS, read_record, run_bench
from rankone.experiments.bench.stack import Bench
from rankone.experiments.bench.summary import chosen_weights
from rankone.experiments.bench.tables import FITS
from rankone.experiments.bench.work import Work, stacks
from rankone.experiments.config import BenchConfig
from rankone.experiments.tables import read_table


@pytest.fixture(scope="module")
def config(picked, tmp_path_factory, tokenizer) -> BenchConfig:
    changes = {"weights": (0.1, 1.0, 10.0), "methods": ("scalar", "neuron", "scalar_zero"), "seeds": 2}
    return written(tmp_path_factory.mktemp("pair"), tokenizer).model_copy(update=changes)


def grid(config):
    return [
        cell
        for method in config.methods
        for retain in config.retain
        for cell in grid_cells(config, method, retain, {b: config.rate(method, b) for b in config.budgets})
    ]


def test_all_methods_run_at_the_weight_of_the_tuning_before_any_runs_at_another():
    config = BenchConfig.checked(
        {**CONFIG, "methods": ["scalar", "lora_r1", "scalar_zero"], "weights": [0.1, 1.0, 10.0], "seeds": 2},
        "test",
    )
    cells = grid(config)
    facts = facts_of(config, "english", {}, "grid")
    works = list(stacks([(cell, cell.key(facts)) for cell in cells], config, "grid"))
    ran = [cell for work in works for cell in work.cells]
    assert sorted(map(str, ran)) == sorted(map(str, cells))
    assert all(
        key == cell.key(facts) for work in works for cell, key in zip(work.cells, work.keys, strict=True)
    )
    assert all(len({(c.method, c.retain) for c in work.cells}) == 1 for work in works)
    # What is not fitted has one weight, the first.
    first = [cell.retain_weight == config.weight(cell.method, cell.budget) for cell in ran]
    assert [usual for usual, _ in groupby(first)] == [True, False]
    # Two retain sets and seeds of three methods: with the small budget of all of them a comparison begins.
    assert [cell.budget for cell in ran if cell.retain_weight == 1.0] == [4] * 8 + [16] * 8
    assert {cell.method for cell in ran[:12]} == set(config.methods)


def test_rates_are_chosen_a_method_after_the_other():
    config = BenchConfig.checked({**CONFIG, "methods": ["scalar", "lora_r1"]}, "test")
    works = list(stacks([(cell, "") for cell in grid(config)], config, "tuning"))
    assert [m for m, _ in groupby(work.cells[0].method for work in works)] == ["scalar", "lora_r1"]


@pytest.mark.parametrize(
    ("purpose", "shared", "sizes"),
    [("tuning", True, [2, 2, 2, 2]), ("tuning", False, [2, 6]), ("grid", True, [2, 6])],
)
def test_the_longest_stacks_come_first_so_that_workers_end_together(purpose, shared, sizes):
    """Rates in four shares where there are workers; a grid's other λ in whole stacks."""
    config = BenchConfig.checked({**CONFIG, "methods": ["scalar"], "stack": 6}, "test")
    first = grid(config)[0].model_copy(update={"retain_weight": 7.0})
    cells = [
        first.model_copy(update={"budget": budget, "seed": seed})
        for seed in range(2)
        for budget in (4, 8, 16, 32)
    ]
    works = list(stacks([(cell, "") for cell in cells], config, purpose, shared))
    assert [len(work.cells) for work in works] == sizes
    longest = [max(cell.budget for cell in work.cells) for work in works]
    assert longest[0] == 32
    assert longest == sorted(longest, reverse=True)


def test_the_order_changes_no_key_and_what_ran_in_another_one_is_not_run_again(config, tmp_path, monkeypatch):
    def as_listed(left, config, purpose, shared):
        for _, alike in groupby(left, lambda item: (item[0].method, item[0].retain)):
            cells, keys = zip(*alike, strict=True)
            yield Work(purpose=purpose, cells=cells, keys=keys)

    monkeypatch.setattr(run_module, "stacks", as_listed)
    before = run_bench(config, tmp_path).outcomes
    monkeypatch.undo()
    monkeypatch.setattr(Bench, "_run", lambda *a: pytest.fail("it ran again"))
    monkeypatch.setattr(
        "rankone.experiments.job.Job.tried", property(lambda job: [_Picked(read_record(tmp_path).part)])
    )
    after = run_bench(config, tmp_path).outcomes
    assert [o.key for o in after] == [o.key for o in before]
    assert len(after) == len(grid(config))


class _Picked:
    def __init__(self, name):
        self.name = name


def test_a_grid_that_is_broken_off_has_a_page_that_says_so(config, tmp_path, monkeypatch, caplog):
    recipe, out = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(yaml.safe_dump({**config.model_dump(mode="json"), "prompts": {"de": ["Die"]}}))
    whole = {o.key: o for o in run_bench(config, tmp_path / "whole").outcomes}
    run, ran = Bench._run, []

    def stopped(bench, cells, sized):
        if len(ran) == 14:
            raise KeyboardInterrupt
        ran.extend(cells)
        return run(bench, cells, sized)

    monkeypatch.setattr(Bench, "_run", stopped)
    with pytest.raises(KeyboardInterrupt), caplog.at_level("INFO", logger="rankone"):
        rankone.open("mini").bench(recipe, out=out)
    assert f"14 runs so far: {out / 'index.html'}" in caplog.messages
    page = (out / "index.html").read_text("utf8")
    assert "The grid has not ended: 14 of 56 runs are here" in page
    counted = page[page.index('id="missing"') :]
    for said in ("4 of 4", "2 of 4", "0 of 8"):
        assert said in counted[: counted.index("</section>")]
    assert len(read_table(out / "fits.parquet", FITS)) == 14
    assert read_record(out).rates["scalar"]["english"][4].learning_rate > 0
    kept = {f.name: hashlib.sha256(f.read_bytes()).digest() for f in (out / RUNS).iterdir()}
    assert len(kept) == 14

    monkeypatch.setattr(Bench, "_run", run)
    assert rankone.open("mini").bench(recipe, out=out).runs == 56
    assert "The grid has not ended" not in (out / "index.html").read_text("utf8")
    again = {f.name: hashlib.sha256(f.read_bytes()).digest() for f in (out / RUNS).iterdir()}
    assert {name: again[name] for name in kept} == kept
    for outcome in run_bench(config, out).outcomes:  # the page in between has left the model as it was
        for domain, result in whole[outcome.key].fitted.test.items():
            assert outcome.fitted.test[domain].ce == pytest.approx(result.ce, abs=2e-3)


def test_what_has_run_is_shown_as_it_goes_and_where_a_worker_ends_it(config, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(run_module, "SECONDS_APART", 0.0)
    monkeypatch.setattr(run_module, "SHOWING_COSTS", 0)
    small = config.model_copy(
        update={"methods": ("scalar",), "weights": (1.0,), "retain": {"english": ("en",)}}
    )
    run_bench(small, tmp_path / "a", show=lambda done: shown.append(len(done.outcomes)))
    assert shown == [2, 4]
    shown.clear()
    monkeypatch.setattr(run_module, "SECONDS_APART", 1e9)
    run_bench(small, tmp_path / "b", show=lambda done: shown.append(len(done.outcomes)))
    assert shown == []

    class Lost:
        def results(self, setup, works):
            benchmark = run_module.Benchmark(setup.config, setup.options)
            yield works[0], benchmark.do(works[0])
            raise RankOneError("worker 1 ended")

        def close(self):
            pass

    with pytest.raises(RankOneError, match="worker 1 ended"):
        run_bench(small, tmp_path / "c", None, Lost(), lambda done: shown.append(len(done.outcomes)))
    assert shown == [2]


def test_a_weight_that_few_seeds_ran_at_is_not_chosen():
    one, few, many = (
        {"method": "scalar", "retain_set": "english", "stage": "fitted", "budget": 4, "seed": s}
        | {"retain_weight": w, "validation_score": score}
        for s, w, score in ((0, 10.0, 9.0), (0, 1.0, 1.0), (1, 1.0, 2.0))
    )
    assert set(chosen_weights([one, few, many]).values()) == {1.0}
    assert set(chosen_weights([one, few]).values()) == {10.0}
