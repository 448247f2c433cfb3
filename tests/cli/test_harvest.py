"""`rankone harvest` and `merge-harvest` on a tiny model: figures, shards, and bad input as one line."""

from __future__ import annotations

import pytest
from tests.claimed import claimed_elsewhere
from tests.cli.commands import with_options
from tests.tiny import rankone, write_pair

from rankone.core.artifact import open_artifact
from rankone.harvest.reading.store import HarvestStore


@pytest.fixture(scope="module")
def words(tmp_path_factory, tokenizer):
    model, decomposition = write_pair(tmp_path_factory.mktemp("pair"), tokenizer, len(tokenizer))
    some = ["--domains", "de", "--domains", "en", "--tokens", 120, "--batch-tokens", 64, "--examples", 5]
    return ["harvest", decomposition, "--model", model, *some]


@pytest.fixture(scope="module")
def harvested(words, tmp_path_factory):
    """A harvest, with what was printed."""
    out = tmp_path_factory.mktemp("harvested") / "out"
    return out, rankone(*words, "--out", out)


def test_a_harvest_is_written_and_summed_up(harvested):
    out, outcome = harvested
    assert (outcome.code, outcome.err) == (0, "")
    store = HarvestStore.open(out)
    assert store.tokens() == {"de": 120, "en": 120}
    firings = store.table(
        "SELECT domain, sum(above_1)::BIGINT AS n FROM domains GROUP BY domain ORDER BY domain"
    )
    for name, count in zip(("de", "en"), firings["n"].to_pylist(), strict=True):
        (row,) = [line for line in outcome.out.splitlines() if line.startswith(f"{name} ")]
        cells = row.split()
        assert cells[1] == "120"
        assert float(cells[2]) == pytest.approx(count / 120, abs=0.001)


def test_parts_of_another_origin_are_counted_labelled_and_shown(words, tmp_path):
    neurons = [f"neuron/h.0.mlp.down_proj:{i}" for i in (1, 4)]
    done = rankone(*words, "--only", ",".join(neurons), "--out", tmp_path / "counted")
    assert (done.code, done.err) == (0, "")
    assert "2 parts, " in done.out
    assert HarvestStore.open(tmp_path / "counted").names() == neurons
    assert rankone("label", tmp_path / "counted", "--out", tmp_path / "labels").code == 0
    opened = ["--model", words[3], "--harvest", tmp_path / "counted", "--labels", tmp_path / "labels"]
    assert "Fires on" in rankone("show", neurons[1], *opened).out


def test_a_harvest_of_parts_holds_them_and_every_verb_finds_them_there(words, tmp_path):
    part = "neuron/h.0.mlp.down_proj:4"
    for shard in ("0/2", "1/2"):
        done = rankone(*words, "--only", part, "--out", tmp_path / "out", "--shard", shard)
        assert done.code == 0, done.err
    assert rankone("merge-harvest", tmp_path / "out.run", "--out", tmp_path / "out").code == 0
    opened = ["--model", words[3], "--harvest", tmp_path / "out"]
    shown = rankone("show", part, *opened, "--response", "--tokens", 20)
    assert (shown.code, shown.err) == (0, "")
    found = rankone("investigate", part, *opened, "--tokens", 20, "--alphas", -1)
    assert (found.code, found.err) == (0, "")
    again = rankone("investigate", part, *opened, "--decomposition", words[1], "--tokens", 20)
    assert "another decomposition" in again.err
    assert "It holds its parts itself: leave --decomposition out." in again.err


def test_shards_are_merged(words, harvested, tmp_path):
    for shard in ("0/2", "1/2"):
        outcome = rankone(*words, "--out", tmp_path / "out", "--shard", shard)
        assert outcome.code == 0, outcome.err
        assert "merge-harvest" in outcome.out
        assert not (tmp_path / "out").exists()
    outcome = rankone("merge-harvest", tmp_path / "out.run", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    fingerprints = [open_artifact(path, "harvest").fingerprint for path in (tmp_path / "out", harvested[0])]
    assert fingerprints[0] == fingerprints[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--domains", "dee"], "no text for 'dee'"),
        (["--shard", "2/2"], "no shard 2/2"),
        (["--tokens", "0"], "tokens: must be greater than 0"),
        (["--split", "tests"], "unknown split 'tests'"),
    ],
)
def test_bad_options_are_one_line(words, tmp_path, more, message):
    outcome = rankone(*with_options(words, *more), "--out", tmp_path / "out")
    assert outcome.code == 2
    assert outcome.err.startswith("rankone: ")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_text_without_domains_is_refused(words, tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "plain.txt").write_text("no folder, no label", "utf8")
    outcome = rankone(*words, "--text", tmp_path / "text", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "no text for" in outcome.err


def test_existing_output_is_refused_before_any_work(words, tmp_path):
    (tmp_path / "out").mkdir()
    outcome = rankone(*words, "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "already exists" in outcome.err
    assert not (tmp_path / "out.run").exists()


def test_an_output_that_another_run_makes_is_refused_before_any_work(words, tmp_path):
    with claimed_elsewhere(tmp_path / "out"):
        outcome = rankone(*words, "--out", tmp_path / "out", "--run", tmp_path / "mine")
        assert outcome.code == 2
        assert f"another run is writing to '{tmp_path / 'out'}'" in outcome.err
        assert not (tmp_path / "mine").exists()
        # Shards of one harvest may be counted at once.
        shard = rankone(*words, "--out", tmp_path / "out", "--run", tmp_path / "mine", "--shard", "0/2")
        assert shard.code == 0, shard.err
