"""Results travel: a folder of tables gets its manifest when it is sent, and is read by its reader from the Hub."""

from __future__ import annotations

import json

import pytest
from tests.experiments import factory
from tests.sharing.test_sharing import send

from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.experiments.report.results import read_results
from rankone.sharing.card import card
from rankone.sharing.fetching import local
from rankone.sharing.results import sealed


def test_a_job_goes_and_comes_back(hub, tmp_path):
    out = factory.results(tmp_path / "job", budgets=(4, 16), seeds=2)
    (out / ".DS_Store").write_bytes(b"x")
    before = sorted(out.iterdir())
    sent = send(out)
    assert sent.kind == "results"
    assert ".DS_Store" not in sent.files
    assert sorted(out.iterdir()) == before  # nothing was written there
    back = read_results("me/thing")
    assert back.summary == read_results(out).summary
    assert back.counted == read_results(out).counted
    assert open_artifact(local("me/thing"), "results").provenance["git_revision"] == "abc123"
    of_scalar = json.loads((out / "summary.json").read_text("utf8"))["methods"]["scalar"]["4"]
    rise, worst = of_scalar["forget_rise"], max(of_scalar["damage"].values())
    assert f"| scalar | 4 | 2/2 | {rise:.4g} | {worst:.4g} |" in sent.card
    assert "revision abc123" in sent.card


def test_claims_of_a_benchmark_and_bars_of_a_real_model_are_in_the_card(tmp_path):
    claim = {"claim": "spares English", "verdict": "holds", "figures": "8/9"}
    (tmp_path / "bench.json").write_text(json.dumps({"provenance": {}}), "utf8")
    (tmp_path / "verdicts.json").write_text(json.dumps({"english": [claim]}), "utf8")
    assert "| english | spares English | holds | 8/9 |" in card(sealed(tmp_path), "me/thing")
    bar = {"name": "French at chance", "value": 1.1, "bar": "≥ 1", "met": True}
    (tmp_path / "summary.json").write_text(json.dumps({"languages": {"fr": {"bars": [bar]}}}), "utf8")
    assert "| fr | French at chance | 1.1 | ≥ 1 | yes |" in card(sealed(tmp_path), "me/thing")


def test_a_folder_of_anything_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("x", "utf8")
    with pytest.raises(RankOneError, match=r"has no manifest.json"):
        send(tmp_path)
    with pytest.raises(RankOneError, match="holds no results"):
        sealed(tmp_path)
    (tmp_path / "summary.json").write_text("{", "utf8")
    with pytest.raises(RankOneError, match=r"summary.json"):
        send(tmp_path, dry_run=True)
