"""Every method beside one scalar at both stages, and the tokens that a standard error takes, by hand."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.perf.test_languages import ABOUT, row

from perf import methods

FIXED = {"success_low": 0.3, "success_high": 0.9}


def measured(method, domain, rise, half, error, stage="sized"):
    """A row whose interval over both is `half` to either side, and whose standard error over passages is `error`."""
    span = 1.96 * error
    passages = {"passages_low": rise - span, "passages_high": rise + span}
    return {**row(method, domain, rise, rise - half, rise + half, stage=stage), **FIXED, **passages}


@pytest.fixture
def kept(tmp_path):
    rows = [
        measured("scalar", "de", 3.0, 0.2, 0.08),
        measured("scalar", "de", 3.5, 2.0, 0.09, stage="fitted"),
        measured("lora_r1", "de", 2.0, 0.3, 0.10),
        measured("lora_r1", "de", 4.0, 0.3, 0.02, stage="fitted"),
        measured("top16", "de", 2.9, 0.1, 0.02),
    ]
    for stage, fr in (("sized", 0.02), ("fitted", 0.30)):
        for method in ("scalar", "lora_r1", "top16"):
            rows.append(measured(method, "en", 0.01, 0.02, 0.005, stage=stage))
            error = {"sized": 0.015, "fitted": 0.04}[stage] if method == "lora_r1" else 0.001
            rows.append(measured(method, "fr", fr, 0.03, error, stage=stage))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "summary.parquet")
    config = {**ABOUT["config"], "test_tokens": 1000}
    (tmp_path / "about.json").write_text(json.dumps({**ABOUT, "config": config}))
    return tmp_path


def test_methods_stand_beside_each_other_and_an_order_is_said_only_where_intervals_do_not_overlap(kept):
    lines = methods.methods_table(kept).splitlines()
    (scalar,) = [line for line in lines if line.startswith("| `scalar`: one scalar |")]
    counted = "2/9 (0.30 to 0.90)"
    assert scalar == (
        f"| `scalar`: one scalar | {counted} | +3.50 (+1.50 to +5.50) | French +0.300 (+0.270 to +0.330) "
        f"| {counted} | +3.00 (+2.80 to +3.20) | French +0.020 (−0.010 to +0.050) |"
    )
    (top,) = [line for line in lines if line.startswith("| `top16`")]
    assert "|  |  |  | 2/9" in top  # not fitted at that stage
    assert lines[-5] == "To chance: +4.00."  # ln V is 8 there, and German was at 4
    assert lines[-3] == "Rise as fitted, beside that of `scalar`: intervals overlap: `lora_r1`."
    assert (
        lines[-1]
        == "Rise sized by the rule, beside that of `scalar`: below it: `lora_r1`; intervals overlap: `top16`."
    )


def test_the_tokens_that_a_standard_error_takes(kept):
    """Twice the error takes four times the tokens: .015 with 1,000 takes 2,250, .04 takes 16,000."""
    by_domain = {line.split("|")[1].strip(): line for line in methods.errors_table(kept).splitlines()}
    assert by_domain["French"] == (
        "| French | 0.015 (`lora_r1`, +0.02) | 2,250 |  |  | 0.040 (`lora_r1`, +0.30) | 16,000 |"
    )
    assert by_domain["German"] == (
        "| German | 0.100 (`lora_r1`, +2.00) | 100,000 |  |  | 0.090 (`scalar`, +3.50) | 81,000 |"
    )
    assert by_domain["English"].endswith(
        "| 250 | 0.005 (`scalar`, +0.01) | 250 | 0.005 (`scalar`, +0.01) | 250 |"
    )


def test_the_page_has_the_tables_of_the_kept_result():
    page = methods.PAGE.read_text("utf8")
    assert methods.methods_table(methods.KEPT) in page
    assert methods.errors_table(methods.KEPT) in page
