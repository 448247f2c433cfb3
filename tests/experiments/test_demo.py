"""The demo says what is lacking before it writes or fits anything; it keeps the edit whose texts it shows and names it."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import workspace
from tests.tiny import tiny_model

from rankone.core.artifact import write_json
from rankone.core.errors import RankOneError
from rankone.edits.lowrank import LowRankEdit
from rankone.edits.ranking.measured import Tried
from rankone.experiments import demo
from rankone.experiments.config import JobConfig
from rankone.experiments.demo import run_demo
from rankone.experiments.job import Job
from rankone.experiments.report.results import read_results
from rankone.experiments.report.shown import budgets, texts

BASE = {"trained": ["de", "en"], "evaluated": ["de", "en"], "budgets": {"scalar": [4]}, "seeds": 1}
PICKED = 60


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"budgets": {"scalar": [4], "lora_r1": [10_000_000]}}, "but 10000000 are needed"),
        ({"reference": "none.json"}, "no file 'none.json'"),
        ({"reference": "list.json"}, "must hold a JSON dict"),
        ({"reference": "none"}, "'none' is neither a directory nor a built-in model"),
        ({"harvest": "none", "labels": "none"}, "no artefact at 'none'"),
    ],
)
def test_what_is_lacking_is_said_first(change, complaint, tokenizer, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_fit_and_measure", None)
    write_json(tmp_path / "list.json", [])
    model = tiny_model(len(tokenizer))
    job = Job(
        JobConfig.model_validate({**BASE, **change}), workspace(model, decomposed(model), tokenizer, corpus)
    )
    with pytest.raises(RankOneError, match=complaint):
        run_demo(job, tmp_path / "report")
    assert not (tmp_path / "report").exists()


@pytest.fixture
def job(tokenizer, corpus):
    """The job on a tiny model; it picks the part `PICKED`."""
    model = tiny_model(len(tokenizer))
    sizes = {"selection_tokens": 60, "retain_tokens": 120, "test_tokens": 60, "alphas": [0.0], "seeds": 2}
    prompts = {"de": ["Der"], "en": ["The"]}
    config = JobConfig.model_validate({**BASE, **sizes, "prompts": prompts})
    made = Job(config, workspace(model, decomposed(model, "random"), tokenizer, corpus))
    made.tried = [Tried(made.workspace.require_parts().names()[PICKED], 0.0, 1.0, 0.0)]
    return made


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("last", ["_response", "_save_edit", "write_report"])
def test_what_is_broken_off_leaves_no_half_of_a_report(job, tmp_path, monkeypatch, last):
    """A kill leaves as much as an interrupt, and a hidden folder that `doctor --clean` knows (tests/soundness/kills/)."""

    def broken_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, last, broken_off)
    with pytest.raises(KeyboardInterrupt):
        run_demo(job, tmp_path / "report")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    run_demo(job, tmp_path / "report")
    monkeypatch.setattr(demo, last, broken_off)
    before = contents(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_demo(job, tmp_path / "report", replace=True)
    assert contents(tmp_path) == before


def test_a_report_that_is_replaced_keeps_nothing_of_the_old_one_and_what_is_not_its_own(job, tmp_path):
    out = tmp_path / "report"
    out.mkdir()
    run_demo(job, out, replace=True)
    (out / "notes.md").write_text("mine", "utf8")
    (out / "evidence.json").write_text("{}", "utf8")
    (out / "edit/manifest.json").unlink()
    with pytest.raises(RankOneError, match="edit"):
        run_demo(job, out, replace=True)
    shutil.rmtree(out / "edit")
    run_demo(job, out, replace=True)
    made = contents(out)
    assert made.pop("notes.md") == b"mine"
    assert "evidence.json" not in made
    run_demo(job, tmp_path / "new")
    assert made.keys() == contents(tmp_path / "new").keys()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_of_other_things_is_replaced_by_nothing(job, tmp_path):
    """Their names alone make them no report."""
    mine = {"summary.json": {"of": "my own work"}, "evidence.json": {}, "rollouts.json": {}}
    for name, document in mine.items():
        write_json(tmp_path / "report" / name, document)
    before = contents(tmp_path)
    with pytest.raises(RankOneError, match=r"holds no report that could be replaced .* Choose another name"):
        run_demo(job, tmp_path / "report", replace=True)
    assert contents(tmp_path) == before


def test_an_exchange_cut_off_is_completed_by_the_same_command(job, tmp_path, monkeypatch):
    out = tmp_path / "report"
    run_demo(job, out)

    def broken_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rankone.experiments.report.place.remove_artifact", broken_off)
        with pytest.raises(KeyboardInterrupt):
            run_demo(job, out, replace=True)
    assert not (out / "summary.json").exists()
    run_demo(job, out, replace=True)
    run_demo(job, tmp_path / "new")
    assert contents(out).keys() == contents(tmp_path / "new").keys()


def test_the_edit_that_is_shown_is_kept_and_named(job, tmp_path):
    decomposition = job.workspace.require_parts()
    name = decomposition.names()[PICKED]
    summary = run_demo(job, tmp_path / "report")
    results = read_results(tmp_path / "report")
    alphas = {row["seed"]: row["alpha"] for row in results.runs}
    assert summary.shown is not None
    assert (summary.shown.seed, summary.shown.alpha) == (0, alphas[0])
    kept = LowRankEdit.from_pretrained(tmp_path / "report" / "edit")
    v, u = decomposition.vectors(name)
    factors = kept.factors[name.rpartition(":")[0]]
    assert torch.allclose(factors.write @ factors.read, (alphas[0] - 1) * torch.outer(u, v), atol=1e-5)
    assert "seed 0" in texts(results).caption
    tally = results.counted["scalar"][4]
    assert tally.alphas == (min(alphas.values()), max(alphas.values()))
    assert tally.alpha in str(budgets(results))
    run_demo(job, tmp_path / "report", replace=True)
    assert LowRankEdit.from_pretrained(tmp_path / "report" / "edit").sites == kept.sites


def test_a_reference_is_read_where_it_was_measured_on_this_text(tokenizer, corpus, tmp_path):
    """The file as `measure --out` writes it; one of other text is left out."""
    model, path = tiny_model(len(tokenizer)), tmp_path / "reference.json"
    config = JobConfig.model_validate({**BASE, "reference": str(path)})
    job = Job(config, workspace(model, decomposed(model), tokenizer, corpus))
    text = {"name": "any", "fingerprint": corpus.fingerprint()}
    said = {
        "model": "m",
        "text": text,
        "split": "test",
        "tokens": config.test_tokens,
        "ce": {"de": 5.0, "xx": 1.0},
    }
    path.write_text(json.dumps(said))
    assert demo._reference(job, {"de": None, "en": None}) == {"de": 5.0}
    path.write_text(json.dumps(said | {"text": text | {"fingerprint": "other"}}))
    assert demo._reference(job, {"de": None}) == {}
