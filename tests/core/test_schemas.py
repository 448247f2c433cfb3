"""What older versions wrote is read through the steps of its kind."""

from __future__ import annotations

import json
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rankone.core.artifact import MANIFEST, new_artifact, open_artifact, write_json
from rankone.core.errors import RankOneError
from rankone.core.schemas import kinds, toy
from rankone.core.schemas.evidence import SCHEMA, kind_of
from rankone.core.schemas.schema import Renamed, Schema
from rankone.core.schemas.stored import StoredTable
from rankone.models.sources.names import ASSETS


def test_steps_are_taken_in_order_from_the_version_that_wrote_it(tmp_path, monkeypatch):
    schema = Schema(3, {1: lambda name, d: {**d, name: 2}, 2: lambda _, d: {**d, "b": d["a"] * 10}})
    assert schema.current("c.json", {"a": 1}, 1) == {"a": 1, "c.json": 2, "b": 10}
    assert schema.current("c.json", {"a": 1}, 3) == {"a": 1}
    with new_artifact(tmp_path / "x", "thing") as staging:
        write_json(staging / "config.json", {"a": 1})
    monkeypatch.setitem(kinds.schemas(), "thing", schema)
    assert open_artifact(tmp_path / "x").json() == {"a": 1, "config.json": 2, "b": 10}
    with new_artifact(tmp_path / "y", "thing") as staging:
        write_json(staging / "config.json", {"a": 1})
    assert json.loads((tmp_path / "y" / MANIFEST).read_text("utf8"))["schema_version"] == 3
    monkeypatch.delitem(kinds.schemas(), "thing")
    with pytest.raises(RankOneError, match="schema version 3; this RankOne reads versions up to 1"):
        open_artifact(tmp_path / "y")


def test_every_version_needs_a_step():
    with pytest.raises(AssertionError):
        Schema(3, {1: lambda _, d: d})


class Row(NamedTuple):
    count: int
    name: str


def test_columns_and_rows_of_an_older_table_have_the_names_of_today(tmp_path):
    pq.write_table(pa.table({"n": [3, 5], "name": ["a", "b"]}), tmp_path / "t.parquet")
    table = StoredTable(tmp_path / "t.parquet", {"n": "count"})
    assert table.array("count").tolist() == [3, 5]
    assert table.column("name") == ["a", "b"]
    assert table.records(Row) == [Row(3, "a"), Row(5, "b")]


def test_tables_of_older_versions_are_read_under_the_names_of_today(tmp_path, monkeypatch):
    """Version 1 wrote one.parquet (a, x), version 2 two.parquet (b, x); today it is three.parquet (c, y)."""
    names = {
        1: Renamed({"one.parquet": "two.parquet"}, {"a": "b"}),
        2: Renamed({"two.parquet": "three.parquet"}, {"b": "c", "x": "y"}),
    }
    unchanged = {1: lambda _, d: d, 2: lambda _, d: d}
    for version, file, columns in ((1, "one", "ax"), (2, "two", "bx"), (3, "three", "cy")):
        steps = {step: unchanged[step] for step in range(1, version)}
        monkeypatch.setitem(kinds.schemas(), "thing", Schema(version, steps))
        with new_artifact(tmp_path / file, "thing") as staging:
            pq.write_table(
                pa.table({name: [i] for i, name in enumerate(columns)}), staging / f"{file}.parquet"
            )
    monkeypatch.setitem(kinds.schemas(), "thing", Schema(3, unchanged, names))
    for file in ("one", "two", "three"):
        table = open_artifact(tmp_path / file).table("three")
        assert (table.path.stem, table.names()) == (file, ["c", "y"])
        assert table.read().to_pydict() == {"c": [0], "y": [1]}
    with pytest.raises(RankOneError, match=r"lacks its file 'four\.parquet'"):
        open_artifact(tmp_path / "three").table("four")


def test_names_change_in_a_step_only():
    with pytest.raises(AssertionError):
        Schema(1, {}, {1: Renamed(columns={"a": "b"})})


def test_the_penalty_of_a_clustering_is_no_scale():
    first = {"config": {"alpha": 10.0, "gamma": 0.2}, "positions": 3}
    second = {"config": {"rank_penalty": 10.0, "gamma": 0.2}, "positions": 3}
    assert kinds.schema_of("components").current("config.json", first, 1) == second


def test_prose_of_the_first_evidence_becomes_kinds():
    assert kind_of("CI as mask") == {"masking": "ci"}
    assert kind_of("rounded > 0.1") == {"masking": "rounded", "threshold": 0.1}
    assert kind_of("adversarial, 20 PGD steps") == {"masking": "adversarial", "steps": 20}
    assert kind_of("unmasked") == {"masking": "unmasked"}
    row = {"masking": "CI as mask", "kl": 1.0}
    broad = {"rows": [row], "adversary": {"step": 0.1, "sources": "one vector"}}
    read = SCHEMA.current("evidence.json", {"rows": [row], "broad": broad}, 1)
    assert read["rows"] == read["broad"]["rows"] == [{"masking": "ci", "kl": 1.0}]
    assert read["broad"]["adversary"] == {"step": 0.1}
    with pytest.raises(RankOneError, match=r"rows of evidence\.json are damaged"):
        SCHEMA.current("evidence.json", {"rows": 3}, 1)


def test_prose_of_the_second_evidence_becomes_rows_and_kinds():
    second = {
        "rows": [],
        "masked_alone": {f"per_{by}": [{by: "a", "ce": 1.0, "kl": 2.0}] for by in ("layer", "kind", "site")},
        "adversary_by_group": {"steps": 2, "others": "held at 1"},
        "spectrum": {"zero": 1, "quantiles": {"0.5": 0.25}},
        "verdict": {"properties": [], "failures": [{"name": "CI collapse"}, {"name": "under-trained"}]},
    }
    third = SCHEMA.current("evidence.json", second, 2)
    assert third == {
        "schema_version": 3,
        "rows": [],
        "masked_alone": [{"by": by, "group": "a", "ce": 1.0, "kl": 2.0} for by in ("layer", "kind", "site")],
        "adversary_by_group": {"steps": 2},
        "spectrum": {"zero": 1, "quantiles": [{"share": 0.5, "mean_importance": 0.25}]},
        "verdict": {"properties": [], "failures": [{"name": "ci_collapse"}, {"name": "under_trained"}]},
    }
    with pytest.raises(RankOneError, match=r"evidence\.json are damaged"):
        SCHEMA.current("evidence.json", {**second, "verdict": {"failures": [{"name": 3}]}}, 2)


def test_the_truth_of_a_toy_becomes_a_number():
    rows = [{"site": "a", "truth": "dense, 3"}, {"site": "b", "truth": "one per feature"}]
    assert toy.SCHEMA.current("scores.json", {"rows": rows}, 1) == {
        "rows": [{"site": "a", "dense": 3}, {"site": "b", "dense": None}]
    }


def test_the_shipped_evidence_is_read_as_the_version_of_today():
    rows = open_artifact(ASSETS / "mini-decomposition").json("evidence.json")["rows"]
    assert [row["steps"] for row in rows if row["masking"] == "adversarial"] == [10, 20, 40, 80] * 2
    assert {row["masking"] for row in rows} == {
        "target", "unmasked", "stochastic", "ci", "random", "rounded", "zero", "adversarial",
    }  # fmt: skip
