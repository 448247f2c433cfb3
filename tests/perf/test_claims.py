"""The published claims' tables, by hand."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.perf.test_languages import ABOUT, row
from tests.perf.test_methods import FIXED

from perf import claims
from rankone.experiments.bench.cells import Cell
from rankone.experiments.bench.ledger import Ledger, Outcome


def test_a_method_has_a_cell_at_every_budget_it_ran_at(tmp_path):
    rows = [
        {**row("scalar", "de", 3.0, 2.8, 3.2, stage="fitted"), **FIXED, "budget": 4},
        {**row("scalar", "fr", 0.02, 0.01, 0.03, stage="fitted"), **FIXED, "budget": 4},
        {**row("scalar", "de", 4.0, 3.8, 4.2, stage="fitted"), **FIXED, "budget": 2048},
        {**row("scalar", "en", 0.05, 0.04, 0.06, stage="fitted"), **FIXED, "budget": 2048},
        {**row("lora_r1", "de", 1.0, 0.8, 1.2, stage="fitted"), **FIXED, "budget": 2048},
        {**row("lora_r1", "en", 0.30, 0.20, 0.40, stage="fitted"), **FIXED, "budget": 2048},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "summary.parquet")
    config = {**ABOUT["config"], "budgets": [4, 2048]}
    (tmp_path / "about.json").write_text(json.dumps({**ABOUT, "config": config}))
    head, _, scalar, lora = claims.methods_table(tmp_path, "fitted").splitlines()
    assert head == "| method, as fitted | 4 tokens | 2,048 tokens |"
    counted = "2/9 (0.30 to 0.90)"
    assert scalar == (
        f"| `scalar`: one scalar | {counted}; +3.00 (+2.80 to +3.20); French +0.02 (+0.01 to +0.03) "
        f"| {counted}; +4.00 (+3.80 to +4.20); English +0.05 (+0.04 to +0.06) |"
    )
    assert lora.startswith("| `lora_r1`: LoRA rank 1 |  | 2/9")


def test_every_claim_has_its_verdicts(tmp_path):
    fitted = [
        {"claim": "A.", "verdict": "open", "figures": "one"},
        {"claim": "B.", "verdict": "holds", "figures": "de"},
    ]
    sized = [{"claim": "A.", "verdict": "holds", "figures": "two"}]
    both = {"english": fitted, "english, sized by the rule": sized}
    (tmp_path / "verdicts.json").write_text(json.dumps(both))
    assert claims.verdicts_table(tmp_path).splitlines()[2:] == [
        "| A. | **open**: one | **holds**: two |",
        "| B. | **holds**: de |  |",
    ]


def test_a_grid_of_many_budgets_has_them_as_rows(tmp_path):
    budgets = [2, 4, 8]
    rows = [
        {
            **row("scalar", domain, rise, rise, rise, stage="fitted"),
            **FIXED,
            "budget": budget,
            "retain_weight": 0.1,
        }
        for budget in budgets
        for domain, rise in (("de", float(budget)), ("fr", 0.02))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "summary.parquet")
    config = {**ABOUT["config"], "budgets": budgets}
    (tmp_path / "about.json").write_text(json.dumps({**ABOUT, "config": config}))
    head, _, *lines = claims.methods_table(tmp_path, "fitted").splitlines()
    assert head == "| tokens, as fitted | `scalar`: one scalar |"
    assert [line.split(" | ")[0] for line in lines] == ["| 2", "| 4", "| 8"]
    assert "+8.00 (+8.00 to +8.00)" in lines[2]
    assert lines[2].endswith("; λ 0.1 |")


def test_fits_that_were_not_sized_have_one_column_of_verdicts(tmp_path):
    fitted = [{"claim": "A.", "verdict": "open", "figures": "one"}]
    (tmp_path / "verdicts.json").write_text(json.dumps({"english": fitted}))
    assert claims.verdicts_table(tmp_path).splitlines() == [
        "| claim | as fitted |",
        "|---|---|",
        "| A. | **open**: one |",
    ]


def test_what_runs_took_is_summed_by_method(tmp_path):
    runs = [
        {"method": "lora_r1", "steps": 900, "seconds": 1800.0},
        {"method": "scalar", "steps": 100, "seconds": 10.0},
        {"method": "scalar", "steps": 300, "seconds": 26.0},
    ]
    pq.write_table(pa.Table.from_pylist(runs), tmp_path / "fits.parquet")
    (tmp_path / "rates.json").write_text(json.dumps({"tuning_seconds": {"lora_r1": 360.0}}))
    assert claims.cost_table(tmp_path).splitlines()[2:] == [
        "| one scalar | 2 | 200 | 18.0 | 0.01 | 0.00 |",
        "| LoRA rank 1 | 1 | 900 | 1800.0 | 0.50 | 0.10 |",
        "| all | 3 | 300 | 26.0 | 0.51 | 0.10 |",
    ]


def test_of_what_a_benchmark_ran_the_runs_that_chose_rates_are_summed(tmp_path):
    cell = {"method": "scalar", "retain": "english", "budget": 4, "retain_weight": 1.0, "learning_rate": 0.1}
    ledger = Ledger(tmp_path / "runs")
    for number, (seed, method, seconds) in enumerate(
        [(0, "scalar", 50.0), (1000, "scalar", 3.0), (1001, "scalar", 4.0), (1000, "lora_r1", 9.0)]
    ):
        run = Cell.checked({**cell, "seed": seed, "method": method}, "test")
        ledger.add(Outcome(cell=run, key=f"{number}", seconds=seconds))
    assert claims.tuning_seconds(tmp_path) == {"scalar": 7.0, "lora_r1": 9.0}


def test_the_image_says_at_which_size_it_is_drawn(tmp_path):
    rows = [{**row("scalar", "de", 4.0, 3.8, 4.2, stage=stage), **FIXED} for stage in ("fitted", "sized")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "summary.parquet")
    assert "succeed, sized by the rule, by" in claims.success_image(tmp_path)


def test_products_of_a_grid_are_steps_times_what_a_step_was_counted_to_cost(tmp_path):
    steps = [
        {"method": "scalar", "budget": budget, "seed": seed, "steps": 100 * seed}
        for budget in (32, 64)
        for seed in (1, 2)
    ]
    pq.write_table(pa.Table.from_pylist(steps), tmp_path / "fits.parquet")
    counted = {
        "asked": {"gflops": 2.0},
        "rows": [
            {"method": "scalar", "budget": 8, "step_gflop": 6.0},
            {"method": "scalar", "budget": 128, "step_gflop": 18.0},
        ],
    }
    (tmp_path / "grid.json").write_text(json.dumps(counted))
    hours = claims.products_hours(tmp_path, tmp_path / "grid.json")
    assert hours == pytest.approx((300 * 6.0 + 300 * 18.0) / 2.0 / 3600)


def written(tmp_path, runs, chosen, config, **more):
    """A kept benchmark of one scalar at one budget; runs: by seed and λ German's nats, rises of English and French."""
    aim = {"forget": "de", "retain": ["en"], "chance": 8.0}
    (tmp_path / "about.json").write_text(json.dumps({**ABOUT, "config": config, "aim": aim}))
    place = {"method": "scalar", "budget": 4}
    weights = [{**place, "stage": stage, "retain_weight": weight} for stage, weight in chosen.items()]
    pq.write_table(pa.Table.from_pylist(weights), tmp_path / "summary.parquet")
    table = [
        {**place, "stage": stage, "seed": seed, "retain_weight": weight, "domain": d, "ce": ce + off, "rise": rise}
        | {name: values[seed, weight] for name, values in more.items()}
        for stage, off in zip(chosen, (0.0, -3.0), strict=False)
        for (seed, weight), (german, *rises) in runs.items()
        for d, ce, rise in zip(("de", "en", "fr"), (german, 3.0, 3.0), (4.0, *rises), strict=True)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "bench.parquet")


@pytest.mark.parametrize("weights", [[1.0, 10.0], [1.0]])
def test_seeds_are_counted_at_the_chosen_weight_with_all_spared_and_at_any(tmp_path, weights):
    config = {**ABOUT["config"], "budgets": [4], "trained": ["de", "en", "fr"], "weights": weights}
    # At λ = 1 two seeds succeed, one spares French.
    runs = {(0, 1.0): (7.9, 0.0, 0.0), (1, 1.0): (7.9, 0.0, 0.2), (2, 1.0): (7.0, 0.0, 0.0)}
    runs |= {(2, 10.0): (7.9, 0.05, 0.0), (3, 10.0): (7.9, 0.2, 0.0), (0, 10.0): (7.9, 0.0, 0.0)}
    written(tmp_path, runs, {"fitted": 1.0, "sized": 10.0}, config)
    head, _, *lines = claims.counts_table(tmp_path, "fitted").splitlines()
    assert head == "| method, as fitted | seeds at chance | 4 | all |"
    assert (
        lines
        == [
            "| one scalar | English spared | 2 | 2 |",
            "|  | every trained domain spared | 1 | 1 |",
            "|  | English spared, at one λ or another | 3 | 3 |",
        ][: 1 + len(weights)]
    )


def test_fits_of_one_scalar_by_side(tmp_path):
    """Two below 1 and one above at the chosen λ; one that has not moved is on neither side."""
    config = {**ABOUT["config"], "budgets": [4], "trained": ["de", "en", "fr"]}
    runs = {(0, 1.0): (8.0, 0.0, 0.0), (1, 1.0): (7.2, 0.02, 0.0), (2, 1.0): (4.8, 0.3, 0.0)}
    runs |= {(3, 1.0): (4.0, 0.0, 0.0), (0, 10.0): (6.0, 0.0, 0.0)}
    alpha = dict(zip(runs, (-16.0, -8.0, 40.0, 1.0, -2.0), strict=True))
    written(tmp_path, runs, {"fitted": 1.0}, config, alpha=alpha)
    _, _, *lines = claims.scalar_table(tmp_path, "fitted").splitlines()
    assert lines == [
        "| 4 | 1 | yes | below 1 | 2 | −16.0 to −8.0 | 0.90 to 1.00 | 0.000 to 0.020 |",
        "| 4 | 1 | yes | above 1 | 1 | 40.0 | 0.60 | 0.300 |",
        "| 4 | 10 |  | below 1 | 1 | −2.0 | 0.75 | 0.000 |",
    ]


def test_two_retain_sets_stand_side_by_side(tmp_path):
    """At the budgets of the second: seeds that succeed, in brackets those that spare French too; nothing where none ran."""
    config = {**ABOUT["config"], "budgets": [4, 32], "trained": ["de", "en", "fr"], "weights": [1.0]}
    english, others = tmp_path / "english", tmp_path / "others"
    for folder, french in ((english, 0.2), (others, 0.0)):
        folder.mkdir()
        runs = {(0, 1.0): (7.9, 0.0, french), (1, 1.0): (7.9, 0.0, 0.0), (2, 1.0): (7.0, 0.0, 0.0)}
        written(folder, runs, {"fitted": 1.0}, config)
    assert claims.retained_table(english, others, "fitted").splitlines() == [
        "| method, as fitted | English retained: 4 | 32 | all others retained: 4 | 32 |",
        "|---|---|---|---|---|",
        "| one scalar | 2 (1) |  | 2 (2) |  |",
    ]
