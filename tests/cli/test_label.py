"""`rankone label` from the command line: statistical, with a server, and bad input as one line with status 2."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from tests.labels.pages import FakeHarvest, ruled
from tests.labels.server import ok, serving
from tests.tiny import rankone, write_pair

from rankone.core.artifact import new_artifact
from rankone.harvest.origin import ModelRecord, Origin, TextRecord
from rankone.harvest.reading.store import HarvestStore
from rankone.labels.store import open_labels
from rankone.verbs import labelling


@dataclass
class Opened(FakeHarvest):
    """A harvest as `HarvestStore.open` gives it, as far as the command looks."""

    decomposition: str = "a" * 64
    model: str = "m" * 64
    by_name: dict = field(default_factory=dict)
    reads: int = 0

    def __post_init__(self):
        made = [
            ruled("h.0.a:1", lambda d, t: t == " der"),
            ruled("h.0.a:2", lambda d, t: t == "[bold]", size=50),
        ]
        self.by_name = {page.part: page for page in made}
        self.origin = Origin(
            decomposition=self.decomposition,
            model=ModelRecord(name="m", hash=self.model),
            text=TextRecord(name="t", fingerprint="g"),
        )
        self.record = SimpleNamespace(config=SimpleNamespace(firing=0.1))
        self.artifact = SimpleNamespace(fingerprint="f" * 64)


OTHERS = {"other": {"decomposition": "b" * 64}, "elsewhere": {"model": "n" * 64}}


@pytest.fixture(autouse=True)
def harvests(monkeypatch, tmp_path_factory):
    """Folders that say they are harvests; what is in them is made up."""
    folder = tmp_path_factory.mktemp("harvests")
    for name in ("harvest", *OTHERS):
        with new_artifact(folder / name, "harvest") as staging:
            (staging / "file").write_text("", "utf8")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("RANKONE_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(labelling, "_opened", lambda path: Opened(**OTHERS.get(path.name, {})))


def test_statistical_labels_are_made_and_shown(tmp_path):
    done = rankone("label", "harvest", "--out", tmp_path / "labels", "--score")
    assert done.code == 0, done.err
    assert "German token: der" in done.out
    assert "2 labels by statistics, 0 by the model" in done.out
    assert open_labels(tmp_path / "labels", "f" * 64).names() == ["h.0.a:1", "h.0.a:2"]


def test_a_server_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("RANKONE_API_KEY", "sk-secret")
    with serving([ok()]) as (url, script):
        words = ["label", "harvest", "--base-url", url, "--model", "m", "--max-tokens", 100_000]
        only = rankone(*words, "--out", tmp_path / "labels", "--estimate", quiet=False)
        assert only.code == 0, only.err
        assert "1 requests to" in only.err
        assert "tokens out" in only.out
        said = rankone(*words, "--out", tmp_path / "labels", "--estimate", "--json")
        assert json.loads(said.out)["estimate"]["requests"] == 1
        assert script.bodies == []
        done = rankone(*words, "--out", tmp_path / "labels")
    assert done.code == 0, done.err
    assert "German articles" in done.out
    assert script.headers[0]["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in done.out + done.err
    assert (tmp_path / "labels.run" / "replies").is_dir()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--model", "m"], "belong together"),
        (["--base-url", "http://localhost:1/v1"], "belong together"),
        (["--estimate"], "--estimate is about a server"),
        (["--base-url", "http://localhost:1/v1", "--model", "m", "--max-cost", "1"], "--price-in"),
        (["--max-cost", "1"], "--max-cost is about a server"),
        (["--run", "there"], "--run is about a server"),
        (["--base-url", "localhost", "--model", "m"], "not the address of a server"),
        (["--base-url", "http://localhost:1/v1", "--model", "m", "--timeout", "0"], "timeout"),
        (["--limit", "1"], "--limit is about a server"),
        (["--base-url", "http://localhost:1/v1", "--model", "m", "--limit", "0"], "limit: must be"),
        (["--held-out", "other"], "give --score too"),
        (["--score", "--held-out", "harvest"], "is the one that is labelled"),
        (["--score", "--held-out", "other"], "another decomposition"),
        (["--score", "--held-out", "elsewhere"], "another decomposition or model"),
    ],
)
def test_bad_input(words, complaint, tmp_path):
    done = rankone("label", "harvest", "--out", tmp_path / "labels", *words)
    assert done.code == 2
    assert complaint in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_real_harvest_is_labelled(tmp_path, tokenizer, monkeypatch):
    monkeypatch.undo()
    model, decomposition = write_pair(tmp_path / "pair", tokenizer, len(tokenizer))
    words = ["--model", model, "--tokens", 150, "--domains", "de", "--domains", "code"]
    for name, split in (("harvest", "train"), ("held-out", "test")):
        done = rankone("harvest", decomposition, *words, "--split", split, "--out", tmp_path / name)
        assert done.code == 0, done.err
    out, held_out = tmp_path / "labels", tmp_path / "held-out"
    done = rankone("label", tmp_path / "harvest", "--out", out, "--score", "--held-out", held_out)
    assert done.code == 0, done.err
    harvest = HarvestStore.open(tmp_path / "harvest")
    labels = open_labels(out, harvest.artifact.fingerprint)
    assert labels.names() == harvest.names()
    assert any("firing_auc" in labels.best(name).scores for name in labels.names())
