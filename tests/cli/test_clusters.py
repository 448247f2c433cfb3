"""The commands around components on a tiny model: they run, and bad input is one clear line with nothing written."""

from __future__ import annotations

import json

import pytest
from tests.cli.commands import tuning, with_options
from tests.tiny import RECIPE, rankone, write_pair

from rankone.clustering.components import Components
from rankone.core.artifact import open_artifact
from rankone.edits.lowrank import LowRankEdit

TEXT = ["--domains", "de", "--domains", "en", "--tokens", 300, "--rank-penalty", 2]


def run(pair, out, *words):
    """`rankone cluster` on the pair."""
    return rankone(*with_options(["cluster", pair[1], "--model", pair[0], "--out", out, *TEXT], *words))


@pytest.fixture(scope="session")
def clustered(pair, tmp_path_factory):
    """Two clusterings of different seeds, with what was printed for the first."""
    folder = tmp_path_factory.mktemp("clustered")
    outcome = run(pair, folder / "a")
    assert run(pair, folder / "b", "--seed", 1).code == 0
    return folder / "a", folder / "b", outcome


def test_cluster_prints_its_components(clustered):
    path, _, outcome = clustered
    assert (outcome.code, outcome.err) == (0, "")
    found = Components.open(path)
    largest = found.component("c0")
    (row,) = [line.split() for line in outcome.out.splitlines() if line.startswith("c0 ")]
    assert int(row[1]) == len(largest.members) > 1
    said = " ".join(outcome.out.split())
    assert f"{len(found.rows):,} components of {sum(len(c.members) for c in found.rows):,} alive" in said
    assert found.record.config.gamma == 0.2


def test_greedy_merges_have_no_draw(pair, clustered, tmp_path):
    assert run(pair, tmp_path / "g", "--greedy").code == 0
    assert Components.open(tmp_path / "g").record.config.gamma is None


def test_distance(clustered):
    same, other = (rankone("cluster-distance", clustered[0], b) for b in clustered[:2])
    assert (same.code, other.code) == (0, 0)
    values = [
        {c[0].strip(): c[-1] for line in o.out.splitlines() if len(c := line.rsplit(maxsplit=1)) == 2}
        for o in (same, other)
    ]
    assert values[0]["adjusted Rand index"] == "1.000"
    assert float(values[0]["variation of information, bits"]) == 0
    assert float(values[1]["variation of information, bits"]) > 0


def test_the_distance_of_single_subcomponents_has_no_matches(pair, tmp_path):
    assert run(pair, tmp_path / "single", "--rank-penalty", 1e6).code == 0
    outcome = rankone("cluster-distance", tmp_path / "single", tmp_path / "single", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)["figures"]["mean Jaccard of the best matches"] is None


def test_tune_scales_a_component(pair, clustered, tmp_path):
    members = Components.open(clustered[0]).members("c1")
    words = ["--clusters", clustered[0], "--budget", 6]
    outcome = rankone(*tuning(pair, *words, "--out", tmp_path / "e", scale="c1"))
    assert (outcome.code, outcome.err) == (0, "")
    edit = LowRankEdit.from_pretrained(tmp_path / "e")
    assert sum(edit.rank(site) for site in edit.sites) == len(members) > 1
    assert edit.description.startswith("c1 × ")
    provenance = open_artifact(tmp_path / "e", "edit").provenance
    assert provenance["parts"] == {"c1": members}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--threshold", 0.999, "--least-firings", 9999], "0 subcomponents are above the threshold 0.999"),
        (["--tokens", 20], "only 40 positions"),
        (["--threshold", 1.5], "threshold: must be less than 1 (got 1.5)"),
        (["--gamma", 0], "gamma: must be greater than or equal to 0.001"),
        (["--domains", "dee"], "no text for 'dee'"),
    ],
)
def test_bad_input_to_cluster(pair, tmp_path, words, said):
    outcome = run(pair, tmp_path / "out", *words)
    assert outcome.code == 2
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_input_to_tune_and_distance(pair, clustered, tmp_path, tokenizer, monkeypatch):
    for scale, words, said in (
        ("c999", ["--clusters", clustered[0]], "no component 'c999'"),
        ("c1", [], "'c1' names a component"),
        ("c1", ["--clusters", pair[1]], "is of kind 'decomposition', but 'components' is needed"),
    ):
        outcome = rankone(*tuning(pair, *words, scale=scale))
        assert (outcome.code, said in outcome.err) == (2, True)
    monkeypatch.setitem(RECIPE, "seed", 1)
    model, decomposition = write_pair(tmp_path, tokenizer, len(tokenizer))
    outcome = rankone(*tuning((model, decomposition), "--clusters", clustered[0], scale="c1"))
    assert outcome.code == 2
    assert "was made from another decomposition" in outcome.err
    assert rankone("cluster", decomposition, "--model", model, "--out", tmp_path / "c", *TEXT).code == 0
    outcome = rankone("cluster-distance", clustered[0], tmp_path / "c")
    assert outcome.code == 2
    assert "cluster different decompositions" in outcome.err
