"""The table of two arithmetics: what differs is named; the page's table is the one the kept results give."""

from __future__ import annotations

import json

import pytest
from perf.pages import write_table

from perf import arithmetic


def path(*verdicts, rise=4.0):
    rows = [
        {
            "method": "scalar",
            "budget": 4,
            "seeds": 3,
            "successes": 2,
            "success_low": 0.21,
            "success_high": 0.94,
            "role": "forget",
            "rise": rise,
            "low": 3.5,
            "high": 4.5,
        }
    ]
    return {"verdicts": [{"claim": f"claim {i}", "verdict": v} for i, v in enumerate(verdicts)], "rows": rows}


def test_claims_whose_verdicts_differ_are_named():
    kept = {"paths": {"float32": path("open", "holds"), "bfloat16 autocast": path("open", "open", rise=-3.9)}}
    assert arithmetic.apart(kept) == ["claim 1"]
    said = arithmetic.table(kept)
    assert "| claim 1 | holds | open |" in said
    row = "| one scalar, 4 | 2/3 (0.21 to 0.94) | +4.00 (+3.50 to +4.50) | 2/3 (0.21 to 0.94) | −3.90 (+3.50 to +4.50) |"
    assert row in said


def test_the_page_has_the_table_of_the_kept_results():
    kept = json.loads(arithmetic.KEPT.read_text("utf8"))
    assert arithmetic.table(kept) in arithmetic.PAGE.read_text("utf8")


def test_a_page_without_the_marks_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- other -->\n<!-- /other -->\n")
    with pytest.raises(ValueError, match="no table between"):
        write_table(page, "mine", "| a |")
    write_table(page, "other", "| a |")
    assert page.read_text() == "<!-- other -->\n\n| a |\n\n<!-- /other -->\n"
