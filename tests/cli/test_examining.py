"""Evidence, comparison and sweep from the command line, on a tiny pair."""

from __future__ import annotations

import json
from functools import partial

import pyarrow.parquet as pq
import pytest
import yaml
from tests.helpers import laddered
from tests.tiny import RECIPE, rankone, write_pair

from rankone.core.artifact import open_artifact
from rankone.decomposition import run as run_module


@pytest.fixture(scope="module")
def pair(tmp_path_factory, tokenizer):
    return write_pair(tmp_path_factory.mktemp("examining"), tokenizer, len(tokenizer))


@pytest.fixture(autouse=True)
def _few_tokens(monkeypatch):
    monkeypatch.setattr(run_module, "evidence_text", partial(run_module.evidence_text, tokens=130))


def test_the_full_account_with_its_tables(pair, tmp_path):
    words = ["--steps", 2, "--restarts", 2, "--out", tmp_path / "e.json", "--folder", tmp_path / "tables"]
    outcome = rankone("evidence", pair[1], "--model", pair[0], *words)
    assert outcome.code == 0, outcome.err
    titles = (
        "Evidence for",
        "Spectrum",
        "Per layer",
        "Per site",
        "Per kind",
        "Verdict by property",
        "Known failures",
    )
    assert [t for t in titles if t not in outcome.out] == []
    for name in ("faithfulness", "minimality", "mechanistic faithfulness", "simplicity"):
        assert f"{name}: " in outcome.out
    for name in ("CI collapse", "too dense", "polysemantic", "under-trained", "dead layer", "weak adversary"):
        assert f"{name}: " in outcome.out
    found = json.loads((tmp_path / "e.json").read_text("utf8"))
    tables = open_artifact(tmp_path / "tables", "evidence")
    assert tables.json("evidence.json") == found
    assert len(found["rows"][-1]["kl_restarts"]) == 2
    rows = pq.read_table(tables.path / "subcomponents.parquet").to_pylist()
    assert len(rows) == found["kept"]
    means = [row["mean_importance"] for row in rows]
    assert means == sorted(means, reverse=True)
    assert (tables.path / "spectrum.svg").read_text("utf8").startswith("<?xml")


def test_nothing_is_overwritten(pair, tmp_path):
    (tmp_path / "there").mkdir()
    for words in (["evidence", pair[1], "--folder"], ["compare", pair[1], pair[1], "--out"]):
        outcome = rankone(*words, tmp_path / "there", "--model", pair[0])
        assert (outcome.code, "already exists" in outcome.err) == (2, True)


def test_a_decomposition_is_like_itself_and_its_start(pair, tmp_path):
    outcome = rankone("compare", pair[1], pair[1], "--model", pair[0], "--out", tmp_path / "c.json")
    assert outcome.code == 0, outcome.err
    found = json.loads((tmp_path / "c.json").read_text("utf8"))
    assert all(value == pytest.approx(1, abs=1e-4) for value in found["a_to_b"]["best"].values())
    # Untrained and stored in bf16: it is what its recipe starts from.
    assert all(value > 0.999 for value in found["b_to_a"]["start"].values())
    assert found["a_to_b"]["random"]["matrix"] < 0.9
    assert "control: random vectors" in outcome.out
    assert outcome.out.count("h.0.mlp.c_fc") == 2


def test_a_sweep_prints_its_frontier(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "account_on", laddered(run_module.account_on, (1,)))
    monkeypatch.setattr(run_module, "HARVEST_ROWS", 4)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump({**RECIPE, "steps": 5, "compile": False, "rows": 2, "context": 16}), "utf8"
    )
    words = [
        "decompose",
        pair[0],
        "--recipe",
        recipe,
        "--text",
        "builtin",
        "--out",
        tmp_path / "sweep",
        "--sweep",
    ]
    refused = rankone(*words, "--keep-dead")
    assert (refused.code, "leave --stop-after, --keep-dead" in refused.err) == (2, True)
    outcome = rankone(*words)
    assert outcome.code == 0, outcome.err
    assert "L0 against reconstruction" in outcome.out
    rows = pq.read_table(tmp_path / "sweep" / "sweep.parquet").to_pylist()
    assert [row["factor"] for row in rows] == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert {row["steps"] for row in rows} == {1}  # a fifth of the recipe's
