"""A user's slips over all commands: one line that names the thing and the mend, exit status 2, nothing left behind."""

from __future__ import annotations

import os
import re
import shutil

import pytest
import yaml
from tests.tiny import RECIPE, rankone, write_pair

from rankone.decomposition.model import load_decomposition
from rankone.edits.scales import scale_edit
from rankone.harvest.config import HarvestConfig
from rankone.harvest.counting.combine import combine
from rankone.harvest.reading.store import HarvestStore
from rankone.harvest.run import harvest
from rankone.labels.run import LabelSettings, label_harvest
from rankone.models.loading import load_model
from rankone.workspace import Workspace

NAME = "h.0.mlp.c_fc:3"
JOB = {
    "trained": ["de", "en"],
    "evaluated": ["de", "en"],
    "retain": {"english": ["en"]},
    "methods": ["scalar"],
    "budgets": {"scalar": [4]},
    "seeds": 1,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory, tokenizer, corpus):
    """One artefact of every kind, and inputs that are wrong in one way each."""
    folder = tmp_path_factory.mktemp("slips")
    model, decomposition = write_pair(folder, tokenizer, len(tokenizer))
    target = load_model(model)
    loaded, _ = load_decomposition(decomposition, target)
    config = HarvestConfig(domains=("de", "en"), tokens=60, context=24, examples=2, window=2)
    harvest(Workspace(target, tokenizer, corpus, loaded), config, folder / "run")
    combine([folder / "run"], folder / "harvest")
    store = HarvestStore.open(folder / "harvest")
    label_harvest(store, store.artifact.fingerprint, folder / "labels", LabelSettings())
    scale_edit(loaded, {NAME: 0.0}).bind(target).save_pretrained(folder / "edit")
    _texts(folder)
    _recipes(folder)
    for name, file in (
        ("model", "config.json"),
        ("decomposition", "manifest.json"),
        ("edit", "manifest.json"),
    ):
        shutil.copytree(folder / name, folder / f"cut-{name}")
        cut = folder / f"cut-{name}" / file
        cut.write_bytes(cut.read_bytes()[:40])
    (folder / "file").write_text("x", "utf8")
    return folder


def _texts(folder):
    for kind, content in (
        ("bytes", b"\xff\xfe\x00 Hallo\n" * 2000),
        ("empty", b""),
        ("short", b"Guten Tag."),
    ):
        for domain in ("de", "en"):
            (folder / kind / domain).mkdir(parents=True)
            (folder / kind / domain / "a.txt").write_bytes(content)


def _recipes(folder):
    (folder / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    (folder / "cut.yaml").write_text("a: [1,\n  b: {", "utf8")
    (folder / "cut.json").write_text('{"rates": ', "utf8")
    (folder / "list.json").write_text("[]", "utf8")
    job = {**JOB, "model": str(folder / "model"), "decomposition": str(folder / "decomposition")}
    changes = {
        "job": {},
        "nan": {"probe_scale": float("nan")},
        "twice": {"judged": "de"},
        "budgetless": {"budgets": {}},
        "cut-rates": {"rates_from": "cut.json"},
        "list-rates": {"rates_from": "list.json"},
        "large": {"methods": ["scalar", "lora_r1"], "budgets": {"scalar": [4], "lora_r1": [10_000_000]}},
        "reference": {"reference": "cut.json"},
    }
    for name, change in changes.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**job, **change}), "utf8")
    whole = {**RECIPE, "compile": False, "rows": 2, "context": 16}
    for name, change in {"whole": {}, "slip": {"stepps": 3}, "inf": {"faithfulness": float("inf")}}.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**whole, **change}), "utf8")


PAIR = "MODEL --decomposition DEC"
TUNE = f"tune {PAIR} --forget de --retain en --scale {NAME} --out OUT"
CASES = {
    # files and folders that are not what they should be
    "sites bytes.yaml/x": "no model directory at",
    "sites DEC": "an artefact of kind 'decomposition', but a model is needed here",
    "sites cut-model": "cannot load the model in",
    "sites MODEL --recipe bytes.yaml": "cannot read the recipe '.*bytes.yaml'",
    "sites MODEL --recipe cut.yaml": "is not valid YAML",
    "sites MODEL --recipe harvest": "cannot read the recipe '.*harvest'",
    "measure MODEL --text file": "is not a text file",
    "measure MODEL --text bytes": "cannot read text from '.*a.txt': line 1: 'utf-8' codec .{0,80} Text must be UTF-8",
    "measure MODEL --text empty": "'empty' holds no text: .*every other file of it is empty",
    "measure MODEL --out file/o.json": "'.*file' is a file: nothing can be written below it",
    "evidence DEC --model MODEL --out file/o.json": "'.*file' is a file: nothing can be written below it",
    "evidence cut-decomposition --model MODEL": "manifest.json' is damaged",
    "evidence HARVEST --model MODEL": "is of kind 'harvest', but 'decomposition' is needed",
    "compare DEC LABELS --model MODEL": "is of kind 'labels', but 'decomposition' is needed",
    "generate Hi --model MODEL --edit cut-edit": "manifest.json' is damaged",
    "export DEC --model MODEL --out OUT": "is of kind 'decomposition', but 'edit' is needed",
    "export EDIT --model MODEL --out file/o": "'.*file' is a file: nothing can be written below it",
    "export EDIT --model mini --out OUT": "it was made for another model. Give the one it was made for",
    "search x --harvest LABELS --labels LABELS": "is of kind 'labels', but 'harvest' is needed",
    f"show {NAME} --harvest HARVEST --html file/p.html": "'.*file' is a file: nothing can be written below it",
    f"{TUNE.removesuffix('OUT')}file/e": "'.*file' is a file: nothing can be written below it",
    "label HARVEST --out file/l": "'.*file' is a file: nothing can be written below it",
    "merge-harvest HARVEST --out OUT": "has no shard-",
    "toys bytes.yaml --out OUT": "cannot read the recipe",
    "pretrain bytes.yaml --text builtin --out OUT": "cannot read the recipe",
    "import file --out OUT": "is a file. Name the folder it lies in",
    # a place that turns out to be unusable on the way
    "harvest DEC --model MODEL --out OUT --run file --tokens 50": "'.*file' is a file: nothing can be written below it",
    # numbers out of range
    "measure MODEL --tokens -5": r"measure: tokens: must be greater than 0 \(got -5\)",
    f"rank {PAIR} --of de --tokens 0": r"rank: tokens: must be greater than 0 \(got 0\)",
    f"{TUNE} --learning-rate nan": r"learning_rate: .*\(got nan\)",
    f"{TUNE} --learning-rate -1": r"learning_rate: .*\(got -1.0\)",
    f"{TUNE} --retain-weight inf": r"retain_weight: .*\(got inf\)",
    f"{TUNE} --steps 0": r"steps: .*\(got 0\)",
    f"{TUNE} --retain de": "^rankone: tune: 'de' is on both sides: the target and what it is held against must be apart$",
    f"{TUNE} --text empty": "'empty' holds no text: .*every other file of it is empty",
    f"{TUNE} --text short": "but 4 are needed. Give more text or ask for less",
    f"investigate {NAME} --harvest HARVEST --model {PAIR} --alphas nan": r"alpha.*\(got 'nan'\)",
    f"picks --harvest HARVEST --labels LABELS {PAIR} --targets de --alphas nan": r"alphas.*\(got 'nan'\)",
    "cluster DEC --model MODEL --out OUT --rank-penalty inf": r"rank.penalty: .*\(got inf\)",
    "generate Hi --model MODEL --tokens 0": r"generate: tokens: must be greater than 0 \(got 0\)",
    "generate Hi --model MODEL --tokens 100": "are longer than the 64 positions the model reads",
    # options without effect
    "label HARVEST --out OUT --limit 5": "--limit is about a server",
    "label HARVEST --out OUT --held-out HARVEST": "give --score too",
    "label HARVEST --out OUT --score --held-out HARVEST": "is the one that is labelled",
    # recipes
    "decompose MODEL --recipe slip.yaml --text builtin --out OUT": r"unknown key stepps .*Nearest: steps",
    "decompose MODEL --recipe inf.yaml --text builtin --out OUT": r"faithfulness: .*\(got inf\)",
    "decompose MODEL --recipe whole.yaml --text builtin --out file/o": "'.*file' is a file",
    "demo --recipe nan.yaml --out OUT": r"probe_scale: .*\(got nan\)",
    "demo --recipe twice.yaml --out OUT": "forget and judged are both 'de'",
    "demo --recipe budgetless.yaml --out OUT": "budgets names no budget of the method 'scalar'",
    "demo --recipe cut-rates.yaml --out OUT": "cannot read JSON from '.*cut.json'",
    "demo --recipe list-rates.yaml --out OUT": "'.*list.json' must hold a JSON object",
    "demo --recipe large.yaml --out OUT": "but 10000000 are needed",
    "demo --recipe reference.yaml --out OUT": "cannot read JSON from '.*cut.json'",
    "demo --recipe job.yaml --out OUT --device cuda:9": "no device 'cuda:9'",
    "demo --recipe job.yaml --out file/o": "'.*file' is a file: nothing can be written below it",
    "demo --recipe job.yaml --harvest HARVEST --out OUT": "harvest and labels belong together",
    "select-rates --recipe large.yaml --out OUT": "but 10000000 are needed",
}
PLACES = {"MODEL": "model", "DEC": "decomposition", "HARVEST": "harvest", "LABELS": "labels", "EDIT": "edit"}


@pytest.mark.parametrize("words", CASES)
def test_one_line_and_nothing_left(words, world, tmp_path, monkeypatch):
    """Relative names are files of the world; OUT must not come into being."""
    monkeypatch.chdir(world)
    before = sorted(world.rglob("*"))
    given = [str(tmp_path / "out") if word == "OUT" else PLACES.get(word, word) for word in words.split()]
    outcome = rankone(*given)
    assert outcome.code == 2, outcome.out
    assert outcome.err.startswith("rankone: ")
    assert outcome.err.count("\n") == 1
    assert len(outcome.err) < 600
    assert re.search(CASES[words], outcome.err.rstrip("\n")), outcome.err
    assert sorted(world.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        f"rank {PAIR} --top -3",
        "search x --harvest HARVEST --labels LABELS --top 0",
        f"show {NAME} --harvest HARVEST --examples -1",
        "harvest DEC --model MODEL --out OUT --chunk-tokens 0",
        "select-rates --out OUT --seeds 0",
    ],
)
def test_numbers_that_the_parser_refuses(words):
    outcome = rankone(*words.split())
    assert outcome.code == 2
    assert "must be greater than" in outcome.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_named_before_any_work(world, tmp_path):
    tmp_path.chmod(0o500)
    outcome = rankone("measure", world / "model", "--out", tmp_path / "o.json")
    tmp_path.chmod(0o700)
    assert outcome.code == 2
    assert f"'{tmp_path}' cannot be written in" in outcome.err
