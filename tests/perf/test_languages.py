"""The table over targets: an order is said only where intervals do not overlap; the page has what kept results give."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perf import languages

ABOUT = {
    "forget": "de",
    "part": "h.1.a:3",
    "aim": {"chance": 8.0},
    "config": {"trained": ["de", "en", "fr"], "budgets": [4, 32], "retain": {"others": ["en", "fr"]}},
}


def row(method, domain, rise, low, high, budget=32, stage="sized"):
    role = {"de": "forget", "en": "retain"}.get(domain, "off-target")
    about = {"method": method, "domain": domain, "role": role, "stage": stage, "budget": budget}
    return {**about, "rise": rise, "low": low, "high": high, "ce": 4.0 + rise, "successes": 2, "seeds": 9}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    folder = tmp_path / "de"
    folder.mkdir()
    (folder / "about.json").write_text(json.dumps(ABOUT))
    rows = [
        row("scalar", "de", 3.0, 2.8, 3.2),
        row("scalar", "de", 9.9, 9.8, 9.9, budget=4),
        row("scalar", "de", 9.9, 9.8, 9.9, stage="fitted"),
        row("scalar", "en", 0.01, 0.0, 0.02),
        row("scalar", "fr", 0.03, 0.0, 0.05),
        row("neuron", "de", 3.3, 3.1, 3.5),
        row("random", "de", 0.1, 0.0, 0.2),
        row("discriminant", "de", 4.0, 3.3, 4.4),
    ]
    rows += [row(m, d, 0.0, 0.0, 0.0) for m in ("neuron", "random", "discriminant") for d in ("en", "fr")]
    pq.write_table(pa.Table.from_pylist(rows), folder / "summary.parquet")
    monkeypatch.setattr(languages, "KEPT", tmp_path)
    return folder


def test_an_order_is_said_only_where_intervals_do_not_overlap(kept):
    said = languages.order(languages.rows_of(kept))
    assert said == "above it: discriminant; below it: random; intervals overlap: its raw neuron or channel"


def test_a_row_has_the_largest_budget_at_matched_removal(kept):
    head, _, line = languages.table().splitlines()
    assert head.endswith("| most elsewhere | where 95% intervals do not overlap |")
    assert line.startswith(
        "| German (`h.1.a:3`) | +4.00 | +3.00 (+2.80 to +3.20) | +3.30 (+3.10 to +3.50) |  |"
    )
    assert "| French +0.030 (0.000 to +0.050), the pick |" in line


def test_a_target_that_is_a_form_of_its_language_has_a_row_of_its_own(kept, tmp_path):
    """German as printed where German in lower case is retained is no second German."""
    bench, config = tmp_path / "bench", {**ABOUT["config"], "forget": "de"}
    others = ["de-lower", "en", "fr"]
    config |= {
        "retain": {"others": others},
        "trained": ["de", *others],
        "seeds": 9,
        "weights": [1.0],
        "fit": {},
    }
    record = {
        **ABOUT,
        "label": "",
        "config": {**config, "tolerance": 0.015, "test_tokens": 9},
        "provenance": {},
    }
    bench.mkdir()
    (bench / "bench.json").write_text(json.dumps(record))
    (kept / "summary.parquet").rename(bench / "summary.parquet")
    (kept / "about.json").unlink()
    kept.rmdir()
    languages.keep([bench])
    bench.rename(tmp_path.parent / "elsewhere")
    (line,) = languages.table().splitlines()[2:]
    assert line.startswith("| German, not de-lower (`h.1.a:3`) | +4.00 |")


def test_the_page_has_the_table_of_the_kept_results():
    assert languages.table() in languages.PAGE.read_text("utf8")
