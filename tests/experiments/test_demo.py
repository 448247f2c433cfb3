"""The demo says what is lacking before it writes or fits anything; it keeps the edit whose texts it shows and names it."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict

import pytest
import torch
import yaml
from tests.decomposition.tiny import decomposed
from tests.helpers import workspace
from tests.tiny import tiny_model, write_pair

import rankone
from rankone.core.artifact import write_json
from rankone.core.errors import RankOneError
from rankone.edits.fitting.run import Run
from rankone.edits.fitting.sized import fit_sized
from rankone.edits.lowrank import LowRankEdit
from rankone.experiments import demo
from rankone.experiments.bench.run import Benchmark
from rankone.experiments.bench.stack import Bench
from rankone.experiments.config import DemoConfig
from rankone.experiments.demo import run_demo
from rankone.experiments.measure import edited_cross_entropies
from rankone.experiments.rates import SelectedRates, select, settings
from rankone.experiments.report.results import read_results
from rankone.experiments.report.shown import budgets, texts
from rankone.subject import Subject

SIZES = {"selection_tokens": 60, "retain_tokens": 120, "test_tokens": 60, "alphas": [0.0], "seeds": 2}
BASE = {
    "trained": ["de", "en"],
    "evaluated": ["de", "en"],
    "retain": {"english": ["en"]},
    "methods": ["scalar"],
    "budgets": {"scalar": [4]},
    "prompts": {"de": ["Der"], "en": ["The"]},
    **SIZES,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory, tokenizer):
    """A recipe's values on a tiny model."""
    folder = tmp_path_factory.mktemp("pair")
    pair = write_pair(folder, tokenizer, len(tokenizer))
    return {**BASE, **dict(zip(("model", "decomposition"), map(str, pair), strict=True))}


@pytest.fixture
def config(base, picked):
    """The demo of a tiny model, which picks its first part."""
    return DemoConfig.model_validate(base)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"methods": ["scalar", "lora_r1"], "budgets": [4, 10_000_000]}, "but 10000000 are needed"),
        ({"reference": "none.json"}, "no file 'none.json'"),
        ({"reference": "list.json"}, "must hold a JSON object"),
        ({"reference": "none"}, "'none' is neither a directory nor a built-in model"),
        ({"harvest": "none", "labels": "none"}, "no artefact at 'none'"),
    ],
)
def test_what_is_lacking_is_said_first(change, complaint, base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "ran", None)
    write_json(tmp_path / "list.json", [])
    with pytest.raises(RankOneError, match=complaint):
        run_demo(DemoConfig.model_validate({**base, **change}), tmp_path / "report")
    assert not (tmp_path / "report").exists()


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("last", ["_response", "continued", "write_report"])
def test_what_is_broken_off_leaves_no_half_of_a_report(config, tmp_path, monkeypatch, last):
    """A kill leaves as much as an interrupt, and a hidden folder that `doctor --clean` knows (tests/soundness/kills/)."""

    def broken_off(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, last, broken_off)
    with pytest.raises(KeyboardInterrupt):
        run_demo(config, tmp_path / "report")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    run_demo(config, tmp_path / "report")
    monkeypatch.setattr(demo, last, broken_off)
    before = contents(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_demo(config, tmp_path / "report", replace=True)
    assert contents(tmp_path) == before


def test_a_report_that_is_replaced_keeps_nothing_of_the_old_one_and_what_is_not_its_own(config, tmp_path):
    out = tmp_path / "report"
    out.mkdir()
    run_demo(config, out, replace=True)
    (out / "notes.md").write_text("mine", "utf8")
    (out / "evidence.json").write_text("{}", "utf8")
    (out / "edit/manifest.json").unlink()
    with pytest.raises(RankOneError, match="edit"):
        run_demo(config, out, replace=True)
    shutil.rmtree(out / "edit")
    run_demo(config, out, replace=True)
    made = contents(out)
    assert made.pop("notes.md") == b"mine"
    assert "evidence.json" not in made
    run_demo(config, tmp_path / "new")
    assert made.keys() == contents(tmp_path / "new").keys()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_of_other_things_is_replaced_by_nothing(config, tmp_path):
    """Their names alone make them no report."""
    mine = {"summary.json": {"of": "my own work"}, "evidence.json": {}, "rollouts.json": {}}
    for name, document in mine.items():
        write_json(tmp_path / "report" / name, document)
    before = contents(tmp_path)
    with pytest.raises(RankOneError, match=r"holds no report that could be replaced .* Choose another name"):
        run_demo(config, tmp_path / "report", replace=True)
    assert contents(tmp_path) == before


def test_an_exchange_cut_off_is_completed_by_the_same_command(config, tmp_path, monkeypatch):
    out = tmp_path / "report"
    run_demo(config, out)

    def broken_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rankone.experiments.report.place.remove_artifact", broken_off)
        with pytest.raises(KeyboardInterrupt):
            run_demo(config, out, replace=True)
    assert not (out / "summary.json").exists()
    run_demo(config, out, replace=True)
    run_demo(config, tmp_path / "new")
    assert contents(out).keys() == contents(tmp_path / "new").keys()


@pytest.mark.usefixtures("picked")
def test_the_verb_says_what_was_made(base, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(base), "utf8")
    reply = rankone.open("mini").demo(recipe=recipe, out=tmp_path / "report")
    assert reply.report == tmp_path / "report" / "index.html"
    assert reply.report.is_file()
    assert reply.part == read_results(tmp_path / "report").summary.part
    assert reply.seconds > 0
    assert reply.tables()


def test_the_edit_that_is_shown_is_kept_and_named(config, tmp_path):
    """Its size is that of `fit_sized`, which the other verbs fit by, from the start that removes most there."""
    summary = run_demo(config, tmp_path / "report")
    results = read_results(tmp_path / "report")
    alphas = {row["seed"]: row["alpha"] for row in results.runs}
    assert summary.shown is not None
    assert (summary.shown.seed, summary.shown.alpha) == (0, alphas[0])
    job = Benchmark(config).pick
    run = Run(job.forget_text(4, 0), 0, 1.0, 0.5)
    (fit,) = fit_sized(job.workspace.model, job.starts("scalar"), [run], job.retain_text, job.aim, config.fit)
    assert alphas[0] == pytest.approx(float(fit.parameters["alpha"][0]), rel=1e-5)
    edited = edited_cross_entropies(job.workspace.model, fit.edit, job.workspace.text(["de"], "test", 60))
    assert next(r["ce"] for r in results.runs if r["domain"] == "de") == pytest.approx(edited["de"], abs=1e-4)
    kept = LowRankEdit.from_pretrained(tmp_path / "report" / "edit")
    v, u = job.workspace.require_parts().vectors(job.pick)
    factors = kept.factors[job.pick.rpartition(":")[0]]
    assert torch.allclose(factors.write @ factors.read, (alphas[0] - 1) * torch.outer(u, v), atol=1e-5)
    assert "seed 0" in texts(results).caption
    tally = results.counted["scalar"][4]
    assert tally.alphas == (min(alphas.values()), max(alphas.values()))
    assert tally.alpha in str(budgets(results))
    run_demo(config, tmp_path / "report", replace=True)
    assert LowRankEdit.from_pretrained(tmp_path / "report" / "edit").sites == kept.sites


@pytest.mark.parametrize(
    "make",
    [run_demo, lambda config, out: select(Benchmark(config), out, seeds=2)],
    ids=["demo", "select-rates"],
)
def test_the_first_fit_that_fails_ends_it(base, picked, tmp_path, monkeypatch, make):
    """A report, or rates, would lack it: no other run is waited for, and nothing is written."""
    tried = []

    def refused(bench, cells, sized):
        tried.append(cells)
        raise RankOneError("not this one")

    monkeypatch.setattr(Bench, "_run", refused)
    config = DemoConfig.model_validate({**base, "stack": 1})
    with pytest.raises(RankOneError, match="not this one"):
        make(config, tmp_path / "out")
    assert [len(cells) for cells in tried] == [1]
    assert not (tmp_path / "out").exists()


def test_a_fit_that_diverges_ends_a_report_and_no_choice_of_rates(base, picked, tmp_path, monkeypatch):
    run = Bench._run

    def diverges(bench, cells, sized):
        return [o.model_copy(update={"diverged": True}) for o in run(bench, cells, sized)]

    monkeypatch.setattr(Bench, "_run", diverges)
    config = DemoConfig.model_validate(base)
    with pytest.raises(RankOneError, match="a fit of scalar diverged: lower its learning rate"):
        run_demo(config, tmp_path / "report")
    assert select(Benchmark(config), tmp_path / "rates.json", seeds=1).rates["scalar"]


def test_test_text_is_cut_once(config, tmp_path, monkeypatch):
    """The edits that no token was spent on are measured on the very text of the runs."""
    cut, blocks = [], Subject.blocks

    def counted(space, domain, split, *rest):
        cut.append((domain, split))
        return blocks(space, domain, split, *rest)

    monkeypatch.setattr(Subject, "blocks", counted)
    run_demo(config, tmp_path / "report")
    assert [one for one in cut if one[1] == "test"] == [("de", "test"), ("en", "test")]


def test_rates_are_chosen_by_the_runs_of_a_benchmark(config, tmp_path):
    """Every rate, λ and cap in its size, on validation text; the one with the best mean score is taken."""
    out = tmp_path / "rates.json"
    selected = select(Benchmark(config), out, seeds=2)
    assert len(selected.settings) == 2 * len(list(settings("scalar")))
    means = defaultdict(list)
    for row in selected.settings:
        means[row.learning_rate, row.retain_weight, row.margin].append(row.score)
    chosen = selected.rates["scalar"][4]
    best = max(means.values(), key=sum)
    assert means[chosen.learning_rate, chosen.retain_weight, chosen.margin] == best
    assert SelectedRates.checked(json.loads(out.read_text()), "rates").rates == selected.rates


def test_a_reference_is_read_where_it_was_measured_on_this_text(tokenizer, corpus, base, tmp_path):
    """The file as `measure --out` writes it; one of other text is left out."""
    model, path = tiny_model(len(tokenizer)), tmp_path / "reference.json"
    config = DemoConfig.model_validate({**base, "reference": str(path)})
    space = workspace(model, decomposed(model), tokenizer, corpus)
    text = {"name": "any", "fingerprint": corpus.fingerprint()}
    said = {
        "model": "m",
        "text": text,
        "split": "test",
        "tokens": config.test_tokens,
        "ce": {"de": 5.0, "xx": 1.0},
    }
    path.write_text(json.dumps(said))
    assert demo._reference(space, config, {"de": None, "en": None}) == {"de": 5.0}
    path.write_text(json.dumps(said | {"text": text | {"fingerprint": "other"}}))
    assert demo._reference(space, config, {"de": None}) == {}
