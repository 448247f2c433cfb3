"""The published claims' tables, by hand."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
from tests.perf.test_languages import ABOUT, row
from tests.perf.test_methods import FIXED

from perf import claims


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
        {**row("scalar", domain, rise, rise, rise, stage="fitted"), **FIXED, "budget": budget}
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
    assert claims.cost_table(tmp_path).splitlines()[2:] == [
        "| one scalar | 2 | 200 | 18.0 | 0.01 |",
        "| LoRA rank 1 | 1 | 900 | 1800.0 | 0.50 |",
        "| all | 3 | 300 | 26.0 | 0.51 |",
    ]


def test_the_image_says_at_which_size_it_is_drawn(tmp_path):
    rows = [{**row("scalar", "de", 4.0, 3.8, 4.2, stage=stage), **FIXED} for stage in ("fitted", "sized")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "summary.parquet")
    assert "succeed, sized by the rule, by" in claims.success_image(tmp_path)
