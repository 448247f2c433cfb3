"""Evidence as it lies on disk, of today and of earlier versions."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from tests.decomposition.evidence.values import SOUND, evidence

from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.core.schemas.evidence import kind_of
from rankone.decomposition.evidence.records import (
    Evidence,
    Masking,
    MaskingRow,
    Outline,
    evidence_of,
    kl_of,
    read_outline,
)
from rankone.decomposition.evidence.tables import evidence_tables
from rankone.models.sources.names import ASSETS

GOLDEN = Path(__file__).parents[2] / "golden" / "0.1"


def test_the_shipped_evidence_shows_the_figures_it_was_written_with():
    path = ASSETS / "mini-decomposition"
    written = json.loads((path / "evidence.json").read_text("utf8"))
    read = evidence_of(open_artifact(path))
    assert [(str(row.masking), row.delta, row.ce, row.kl) for row in read.rows] == [
        (kind_of(row["masking"])["masking"], row["delta"], row["ce"], row["kl"]) for row in written["rows"]
    ]
    assert (read.l0_total, read.alive_total) == (written["l0_total"], written["alive_total"])
    tables = {table.title: table for table in evidence_tables(read, "mini")}
    alone = {row["site"]: row["kl"] for row in written["masked_alone"]["per_site"]}
    assert tables["Per site"].column("KL masked alone") == list(alone.values())
    failures = [f"{f['name']}: {f['said']} (bar: {f['bar']})" for f in written["verdict"]["failures"]]
    assert tables["Known failures"].column("failure") == failures


def test_a_bare_file_says_its_version_and_an_old_one_is_read_through_the_steps():
    path = ASSETS / "mini-decomposition"
    old = read_outline(json.loads((path / "evidence.json").read_text("utf8")), "the file")
    assert old == evidence_of(open_artifact(path))
    assert read_outline(json.loads(json.dumps(old.plain())), "the file") == old


def test_the_earliest_evidence_is_read_as_far_as_it_goes():
    document = open_artifact(GOLDEN / "evidence").json("evidence.json")
    read = read_outline(document, "here")
    assert not isinstance(read, Evidence)
    assert [row.masking for row in read.rows] == [Masking.UNMASKED, Masking.STOCHASTIC, Masking.ROUNDED]
    with pytest.raises(RankOneError, match=r"here: l0_total: .*l0"):
        read_outline({**document, "l0_total": "l0"}, "here")


def test_a_run_that_failed_is_told_as_it_is(tmp_path):
    """After days of training nothing may be lost for an infinite KL."""
    rows = [{**row, "kl": math.inf} for row in SOUND["rows"]]
    read = read_outline(json.loads(json.dumps(evidence(rows=rows).plain())), "here")
    assert isinstance(read, Outline)
    assert {row.kl for row in read.rows} == {math.inf}


def test_a_row_is_chosen_by_its_kind_its_bound_and_delta_off():
    rows = [
        MaskingRow(masking=Masking.ROUNDED, threshold=t, delta=delta, ce=0.0, kl=t + delta)
        for delta in (True, False)
        for t in (0.1, 0.5)
    ]
    assert kl_of(rows, Masking.ROUNDED, threshold=0.5) == 0.5
    assert kl_of(rows, Masking.ROUNDED) == 0.1
    with pytest.raises(KeyError, match="rounded"):
        kl_of(rows, Masking.ROUNDED, threshold=0.2)


@pytest.mark.parametrize(
    ("row", "title"),
    [
        ({"masking": "ci"}, "CI as mask"),
        ({"masking": "rounded", "threshold": 0.0}, "rounded > 0"),
        ({"masking": "adversarial", "steps": 20}, "adversarial, 20 PGD steps"),
        ({"masking": "zero"}, "zero"),
    ],
)
def test_what_tables_call_a_masking(row, title):
    assert MaskingRow(ce=0.0, kl=0.0, **row).title == title
