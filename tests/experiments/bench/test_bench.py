"""A whole benchmark on a tiny model: what runs, what is not run again, what a changed setting reruns, tables and page."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml
from tests.experiments.workers.tiny import CONFIG
from tests.tiny import write_pair

import rankone
from rankone.core.artifact import open_artifact
from rankone.core.errors import RankOneError
from rankone.edits.fitting import sized as sized_module
from rankone.edits.fitting.fit import fit_many
from rankone.experiments.bench import run as run_module
from rankone.experiments.bench import stack as stack_module
from rankone.experiments.bench.cells import FIRST_TUNING_SEED, tuning_cells
from rankone.experiments.bench.choice import score
from rankone.experiments.bench.ledger import STAGES
from rankone.experiments.bench.page import write_results
from rankone.experiments.bench.reproduce import compared, reproduce
from rankone.experiments.bench.rollouts import rollouts, shown_cell
from rankone.experiments.bench.run import read_record, run_bench
from rankone.experiments.bench.shown import accounts_table, tokens_in_all
from rankone.experiments.bench.summary import SUMMARY
from rankone.experiments.bench.tables import BENCH, FITS
from rankone.experiments.config import BenchConfig, read_recipe
from rankone.experiments.job import DECOMPOSITION
from rankone.experiments.tables import read_table
from rankone.sharing.card import card


def test_a_result_is_run_again(done, picked):  # before tests that run other settings into the same folder
    out = done[0]
    found = reproduce(out, 3, tolerance=2e-3)
    assert found.same
    assert len(found.runs) == 3
    assert max(r.ce_apart for r in found.runs) < 2e-3
    assert not found.changed
    assert all(run.stage in STAGES for run in found.runs)


@pytest.mark.parametrize("name", ["fitted", "sized", "matched"])
def test_every_stage_is_compared(done, name):
    """German .5 nats away at one size alone, and a size that is not there again."""
    old = next(o for o in done[3] if o.matched is not None)
    assert list(old.stages) == ["fitted", "sized", "matched"]
    stage = old.stages[name]
    test = {**stage.test, "de": stage.test["de"].model_copy(update={"ce": stage.test["de"].ce + 0.5})}
    moved = old.model_copy(update={name: stage.model_copy(update={"test": test})})
    found = compared(old, moved, 0.02)
    assert (found.stage, found.ce_apart, found.same) == (name, pytest.approx(0.5), False)
    assert not compared(old, old.model_copy(update={name: None}), 0.02).same
    assert compared(old, old, 0.02).same


def test_a_result_of_relative_folders_is_run_again_from_elsewhere(
    picked, tokenizer, corpus, tmp_path, monkeypatch
):
    """And its runs are known by the files of model and text, wherever these lie."""
    here = tmp_path / "here"
    write_pair(here, tokenizer, len(tokenizer))
    for domain in ("de", "en", "fr"):
        (here / "text" / domain).mkdir(parents=True)
        documents = [d for split in ("train", "validation", "test") for d in corpus.documents(domain, split)]
        (here / "text" / domain / "a.txt").write_text("\n\n".join(documents), encoding="utf8")
    named = {"model": "model", "decomposition": "decomposition", "text": "text"}
    recipe = here / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({**CONFIG, **named, "methods": ["scalar"], "weights": [1.0]}))
    (here / "model" / "manifest.json").unlink(missing_ok=True)
    monkeypatch.chdir(here)
    first = rankone.open("mini").bench(Path("recipe.yaml"), out=Path("out"))
    monkeypatch.chdir(tmp_path)
    assert rankone.open("mini").reproduce(Path("here/out"), runs=2).same
    keys = {f.name for f in (here / "out" / "runs").iterdir()}
    assert len(keys) == first.runs
    here.rename(tmp_path / "moved")
    rankone.open("mini").bench(tmp_path / "moved" / "recipe.yaml", out=tmp_path / "moved" / "out")
    assert {f.name for f in (tmp_path / "moved" / "out" / "runs").iterdir()} == keys
    weights = tmp_path / "moved" / "model" / "generation_config.json"
    weights.write_text(weights.read_text() + "\n")
    assert not rankone.open("mini").reproduce(tmp_path / "moved" / "out", runs=1).same


@pytest.fixture(scope="module")
def values(tmp_path_factory, tokenizer):
    model, decomposition = write_pair(tmp_path_factory.mktemp("bench"), tokenizer, len(tokenizer))
    return {
        **CONFIG,
        "model": str(model),
        "decomposition": str(decomposition),
        "evaluated": ["de", "en", "fr", "nl"],
        "methods": ["scalar", "lora_r1_local", "scalar_zero", "task_vector"],
        "seeds": 2,
        "weights": [1.0, 10.0],
        "stack": BenchConfig.model_fields["stack"].default,
        "matched": True,
        "test_tokens": 150,  # several passages, over which there are intervals
        "prompts": {"de": ["Die Lösung liegt"], "en": ["The solution"]},
    }


@pytest.fixture(scope="module")
def done(values, picked, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    config = BenchConfig.checked(values, "test")
    record, outcomes, workspace = run_bench(config, out)
    texts = rollouts(workspace, out, config)
    verdicts = write_results(out, record, outcomes, texts)
    return out, config, record, outcomes, verdicts, texts


def test_every_run_of_the_grid_is_there(done):
    _, _config, record, outcomes, _, _ = done
    cells = [outcome.cell for outcome in outcomes]
    # Two retain sets, budgets and seeds; two weights but for what is not fitted, or has no retain term.
    assert len(set(cells)) == len(cells) == 8 * (2 + 2 + 1 + 1)
    assert {c.retain_weight for c in cells if c.method == "task_vector"} == {0.0}
    assert all(outcome.status == "ok" for outcome in outcomes)
    tried = {m: rates["english"][4].learning_rate for m, rates in record.rates.items()}
    assert tried["lora_r1_local"] in (0.01, 0.003, 0.03)
    assert record.tuning_runs == {"scalar": 0, "lora_r1_local": 6, "scalar_zero": 0, "task_vector": 4}
    assert read_record(done[0]).rates == record.rates


def test_saved_edits_say_what_they_do_to_every_domain(done):
    """And so do their cards: the rises are those of the run."""
    out, _, _, outcomes, _, _ = done
    for method in ("scalar", "lora_r1_local"):
        artifact = open_artifact(out / "edits" / method)
        said = {row["domain"]: row for row in artifact.provenance["measured"]}
        (outcome,) = (
            o for o in outcomes if o.cell.method == method and shown_cell(read_record(out).config, o.cell)
        )
        assert set(said) == {"de", "en", "fr", "nl"}
        for domain, result in outcome.fitted.test.items():
            assert said[domain]["rise"] == pytest.approx(result.rise, abs=1e-5)
            assert said[domain]["edited"] == pytest.approx(result.ce, abs=1e-5)
        assert said["de"]["role"] == "forget"
        assert "| nl |" in card(artifact, method)


def test_what_has_run_is_not_run_again(done, monkeypatch):
    out, config, _, outcomes, _, _ = done
    monkeypatch.setattr(stack_module.Bench, "_run", lambda *a: pytest.fail("it ran again"))
    again = run_bench(config, out).outcomes
    assert [o.key for o in again] == [o.key for o in outcomes]
    assert again[0].fitted == outcomes[0].fitted


@pytest.mark.parametrize(
    ("change", "reruns"),
    [
        ({"seeds": 3}, {"seed": 2}),
        ({"methods": ["scalar", "neuron"]}, {"method": "neuron"}),
        ({"budgets": [4, 8]}, {"budget": 8}),
        ({"weights": [1.0, 3.0]}, {"retain_weight": 3.0}),
        ({"prompts": {}}, {"method": "nothing"}),
        ({"test_tokens": 41}, {}),
    ],
)
def test_a_changed_setting_reruns_what_it_touches(done, monkeypatch, change, reruns):
    out, config, _, _, _, _ = done
    ran = []

    def spy(bench, cells, sized):
        ran.extend(cells)
        raise RankOneError("not now")

    monkeypatch.setattr(stack_module.Bench, "_run", spy)
    monkeypatch.setattr("rankone.experiments.bench.ledger.Ledger.add", lambda *a: None)
    changed = BenchConfig.checked({**config.model_dump(), "methods": ["scalar"], **change}, "test")
    found = run_bench(changed, out).outcomes
    grid = [c for c in ran if c.seed < 1000]
    assert all(getattr(c, key) == value for c in grid for key, value in reruns.items())
    expected = [o.cell for o in found if all(getattr(o.cell, k) == v for k, v in reruns.items())]
    assert sorted(map(str, grid)) == sorted(map(str, expected))


def test_an_interrupted_grid_goes_on(values, picked, tmp_path, monkeypatch):
    config = BenchConfig.checked({**values, "methods": ["scalar"], "stack": 3}, "test")
    run, count = stack_module.Bench._run, []

    def dies(bench, cells, sized):
        count.append(len(cells))
        if len(count) == 3:
            raise KeyboardInterrupt
        return run(bench, cells, sized)

    monkeypatch.setattr(stack_module.Bench, "_run", dies)
    with pytest.raises(KeyboardInterrupt):
        run_bench(config, tmp_path / "out")
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 6
    outcomes = run_bench(config, tmp_path / "out").outcomes
    assert sum(count[3:]) == len(outcomes) - 6


def test_the_record_is_of_the_revision_it_began_with(values, picked, tmp_path, monkeypatch):
    """Code that is loaded stays what it was, whatever is checked out while it runs."""
    revisions = iter(("first", "second"))
    monkeypatch.setattr(run_module, "environment", lambda: {"git_revision": next(revisions)})
    config = BenchConfig.checked({**values, "methods": ["scalar_zero"], "seeds": 1}, "test")
    record = run_bench(config, tmp_path / "out").record
    assert read_record(tmp_path / "out") == record
    assert record.provenance["git_revision"] == "first"
    assert record.seconds > 0


def test_a_stack_does_not_change_results(values, picked, done, tmp_path):
    config = BenchConfig.checked(
        {**values, "methods": ["lora_r1_local"], "budgets": [16], "stack": 1}, "test"
    )
    _, _, _, outcomes, _, _ = done
    together = {o.key: o for o in outcomes}
    for alone in run_bench(config, tmp_path / "out").outcomes:
        for domain, result in alone.fitted.test.items():
            assert together[alone.key].fitted.test[domain].ce == pytest.approx(result.ce, abs=2e-3)


def test_failed_and_diverged_runs_stay_visible(values, picked, tmp_path, monkeypatch, caplog):
    run = stack_module.Bench._run

    def fails(bench, cells, sized):
        if cells[0].budget == 16:
            raise RankOneError("the text is too short")
        return [o.model_copy(update={"diverged": o.cell.seed == 1}) for o in run(bench, cells, sized)]

    monkeypatch.setattr(stack_module.Bench, "_run", fails)
    config = BenchConfig.checked({**values, "methods": ["scalar"], "stack": 2}, "test")
    with caplog.at_level("WARNING", logger="rankone"):
        record, outcomes, _ = run_bench(config, tmp_path / "out")
    said = "scalar, english: 1 of 2 runs failed or diverged: a fit of scalar diverged: lower its learning rate (0.5)."
    assert said in caplog.messages
    assert "scalar, others: 2 of 2 runs failed or diverged: the text is too short" in caplog.messages
    write_results(tmp_path / "out", record, outcomes, {})
    rows = read_table(tmp_path / "out" / "fits.parquet", FITS)
    by_status = {s: {r["key"] for r in rows if r["status"] == s} for s in ("ok", "diverged", "failed")}
    assert {s: len(keys) for s, keys in by_status.items()} == {"ok": 4, "diverged": 4, "failed": 8}
    page = (tmp_path / "out" / "index.html").read_text("utf8")
    assert "Runs that failed or diverged" in page
    assert "the text is too short" in page


def test_tables_and_page(done):
    out, config, _record, outcomes, verdicts, texts = done
    rows = read_table(out / "bench.parquet", BENCH)
    sized = [o for o in outcomes if o.sized is not None]
    matched = [o for o in outcomes if o.matched is not None]
    assert len(rows) == 4 * (len(outcomes) + len(sized) + len(matched))
    assert {o.cell.method for o in sized} == {"scalar", "lora_r1_local", "task_vector"}
    assert [o.key for o in matched] == [o.key for o in sized]
    row = next(r for r in rows if r["stage"] == "fitted" and r["domain"] == "nl")
    outcome = next(o for o in outcomes if o.key == row["key"])
    assert row["rise"] == pytest.approx(outcome.fitted.test["nl"].rise)
    assert row["role"] == "off-target"
    summary = read_table(out / "summary.parquet", SUMMARY)
    assert {r["seeds"] for r in summary} == {2}
    one = next(r for r in summary if (r["method"], r["stage"], r["domain"]) == ("scalar", "fitted", "fr"))
    own = [
        r["rise"]
        for r in rows
        if all(r[k] == one[k] for k in ("method", "retain_set", "stage", "budget", "retain_weight", "domain"))
    ]
    assert len(own) == 2
    assert one["rise"] == pytest.approx(sum(own) / 2)
    assert one["seeds_low"] <= one["rise"] <= one["seeds_high"]
    page = (out / "index.html").read_text("utf8")
    for said in ("What the published experiment claims", "Selected learning rates", "no security boundary"):
        assert said in page
    assert set(texts) == set(config.methods)
    assert [t.domain for t in texts["scalar"]] == ["de", "en"]
    saved = json.loads((out / "verdicts.json").read_text())
    assert [v["claim"] for v in saved["english"]] == [v.claim for v in verdicts]
    # A claim that the fits decide is judged again at their sizes; what the models write was kept of the fits alone.
    at_size = {v["claim"]: v for v in saved["english, sized by the rule"]}
    assert [v["claim"] for v in saved["english, at matched removal"]] == list(at_size)
    asked = [v.claim for v in verdicts if v.verdict != "not asked"]
    assert list(at_size) == [claim for claim in asked if not claim.startswith("The edited model")]
    assert any(at_size[v.claim]["figures"] != v.figures for v in verdicts if v.claim in at_size)
    assert "english, sized by the rule" in page
    assert "english, at matched removal" in page


def test_at_matched_removal_no_size_scores_less_on_validation_text_than_the_fit(done):
    _, _, record, outcomes, _, _ = done
    scores = [
        [score(stage.validation, record.aim, surely=True) for stage in (o.fitted, o.matched)]
        for o in outcomes
        if o.matched
    ]
    assert all(matched >= fitted - 1e-4 for fitted, matched in scores)
    assert any(matched > fitted + 1e-3 for fitted, matched in scores)
    assert len({o.matched.size for o in outcomes if o.matched}) > 1


def test_figures_hold_what_their_csv_says(done):
    out, _, _, _, _, _ = done
    drawn = sorted(p.stem for p in (out / "figures").glob("*.svg"))
    assert drawn == sorted(p.stem for p in (out / "figures").glob("*.csv"))
    assert "frontier-english-fitted" in drawn
    summary = {
        (r["method"], r["budget"], r["retain_weight"], r["domain"]): r
        for r in read_table(out / "summary.parquet", SUMMARY)
        if (r["retain_set"], r["stage"]) == ("english", "fitted")
    }
    with (out / "figures" / "frontier-english-fitted.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    chosen = [row for row in rows if row["low"]]
    assert chosen
    for row in rows:
        key = row["method"], int(row["budget"]), float(row["retain_weight"]), row["domain"]
        assert (key in summary) == bool(row["low"])  # of the chosen λ alone
    for row in chosen:
        key = row["method"], int(row["budget"]), float(row["retain_weight"]), row["domain"]
        assert float(row["mean"]) == pytest.approx(summary[key]["rise"], abs=1e-6)
        assert float(row["low"]) == pytest.approx(summary[key]["low"], abs=1e-6)
        assert float(row["high"]) == pytest.approx(summary[key]["high"], abs=1e-6)
    svg = (out / "figures" / "frontier-english-fitted.svg").read_text("utf8")
    assert "crosses:" in svg


def test_tokens_are_counted_twice_those_of_a_fit_and_all(done):
    """A part's fit has behind it what it was picked by, a LoRA on every matrix what its rates were chosen on."""
    out, config, record, _, _, _ = done
    assert record.spent["harvest and ranking"] == 60
    assert record.spent["measuring candidates"] == config.pick_tokens
    before, chosen = sum(record.spent.values()), config.validation_tokens
    assert tokens_in_all(record, "scalar", 4) == 4 + before + chosen  # two λ, one rate
    assert tokens_in_all(record, "scalar_zero", 4) == 4 + before
    assert tokens_in_all(record, "lora_r1_local", 16) == 2 * 16 + before + chosen
    assert (
        tokens_in_all(record.model_copy(update={"tuning_runs": {"lora_r1": 4}}), "lora_r1", 16) == 32 + chosen
    )
    with (out / "figures" / "success-english-fitted.csv").open(newline="") as stream:
        rows = {(row["method"], int(row["budget"])): row for row in csv.DictReader(stream)}
    assert set(rows) == {(m, b) for m in config.methods for b in config.budgets}
    for (method, budget), row in rows.items():
        assert int(row["tokens_in_all"]) == tokens_in_all(record, method, budget)
    silent = {what: count for what, count in record.spent.items() if what != DECOMPOSITION}
    assert (DECOMPOSITION, record.spent[DECOMPOSITION]) in accounts_table(record).rows
    unknown = accounts_table(record.model_copy(update={"spent": silent})).rows[0]
    assert unknown == (DECOMPOSITION, "unknown: it does not say what it was trained on")


def test_a_result_that_does_not_come_out_is_said(done, picked):
    out, _, _, outcomes, _, _ = done
    path = out / "runs" / f"{outcomes[0].key}.json"
    before = path.read_text()
    path.write_text(before.replace('"ce": ', '"ce": 1'))
    try:
        found = reproduce(out, 1)
    finally:
        path.write_text(before)
    assert not found.same
    assert found.runs[0].ce_apart > 1


def test_a_folder_of_something_else_is_left_alone(values, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RankOneError, match="holds no benchmark"):
        run_bench(BenchConfig.checked(values, "test"), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"retain": {"all": ["de", "en"]}}, "the retain set 'all' holds 'de', which is to be forgotten"),
        ({"retain": {"odd": ["nl"]}}, "names 'nl', which `trained` lacks"),
        ({"evaluated": ["fr", "nl"]}, "evaluated lacks de, en"),
        ({"budgets": [4, 4]}, "budgets names one twice: 4, 4"),
        ({"budgets": 4}, "test: budgets: must be a list, or `key: value` pairs .got 4."),
        ({"budgets": [4, 0]}, "test: budgets.1: must be greater than 0 .got 0."),
        ({"budgets": {"scalar": "4"}}, "test: budgets.scalar: must be a list .got '4'."),
        ({"sized": "onyl"}, "test: sized: must be true or false, or 'only' .got 'onyl'."),
        ({"fit": 3}, "test: fit: must be `key: value` pairs .got 3.$"),
        ({"sized": 2}, "test: sized: must be true or false, or 'only' .got 2."),
        ({"budgets": {"scalar": [4, "x"]}}, "test: budgets.scalar.1: must be a valid integer .got 'x'."),
        ({"rates_from": ""}, "test: rates_from: must have at least 1 character"),
        ({"methods": ["scaler"]}, "unknown method 'scaler'. Nearest: scalar"),
        ({"sized": "only"}, "looks at one size alone"),
        (
            {"one_start": True, "sized": "only", "matched": False},
            "one_start begins where a scale has no sign yet",
        ),
    ],
)
def test_a_benchmark_that_makes_no_sense_is_refused(values, change, complaint):
    with pytest.raises(RankOneError, match=complaint):
        BenchConfig.checked({**values, **change}, "test")


def test_one_start_fits_every_run_once_from_the_unchanged_model(values, picked, tmp_path, monkeypatch):
    """Scales from α = 1, LoRA from its first draw, what is not fitted as it is; and the runs have keys of their own."""
    asked = {
        **values,
        "methods": ["scalar", "lora_r1_local", "scalar_zero"],
        "weights": [1.0],
        "sized": False,
    }
    config = BenchConfig.checked({**asked, "one_start": True}, "test")
    fits = list[tuple[str, float]]()

    def counted(model, method, runs, *rest, **more):
        (first, *_) = method.start(1, [0]).values()
        fits.extend((method.name, float(first.detach().flatten()[0])) for _ in runs)
        return fit_many(model, method, runs, *rest, **more)

    monkeypatch.setattr(sized_module, "fit_many", counted)
    outcomes = run_bench(config, tmp_path / "once").outcomes
    grid = [o for o in outcomes if o.cell.seed < FIRST_TUNING_SEED]
    assert {o.start for o in grid} == {0}
    assert {alpha for name, alpha in fits if name == "scalar"} == {1.0}
    tuned = len(list(tuning_cells(config, "lora_r1_local", "english")))
    per_method = len(config.budgets) * config.seeds * len(config.retain)
    assert [name for name, _ in fits].count("scalar") == per_method
    assert [name for name, _ in fits].count("lora_r1_local") == per_method + tuned * len(config.retain)
    assert {o.fitted.alpha for o in grid if o.cell.method == "scalar_zero"} == {0.0}
    twice = run_bench(BenchConfig.checked(asked, "test"), tmp_path / "twice").outcomes
    assert not {o.key for o in outcomes} & {o.key for o in twice}


def test_edits_in_a_folder_of_two_settings_are_those_of_the_last(values, picked, tmp_path):
    """Though all of its runs lie there already; a folder that holds its edits is left alone."""
    asked = {**values, "methods": ["scalar"], "weights": [1.0], "sized": False, "retain": {"english": ["en"]}}
    both, one = (BenchConfig.checked({**asked, "one_start": once}, "test") for once in (False, True))

    def shown(config):
        outcomes = run_bench(config, tmp_path / "out").outcomes
        (run,) = (o for o in outcomes if shown_cell(config, o.cell))
        return run.key, open_artifact(tmp_path / "out" / "edits" / "scalar").provenance["run"]

    for config in (both, one, both):
        key, said = shown(config)
        assert said == key
    file = tmp_path / "out" / "runs" / f"{key}.json"
    before = file.stat().st_mtime_ns
    shown(both)
    assert file.stat().st_mtime_ns == before


def test_domains_that_a_text_lacks_are_left_out(values):
    config = BenchConfig.checked(values, "test").on_domains(["de", "en"])
    assert (config.trained, config.evaluated) == (("de", "en"), ("de", "en"))
    assert config.retain == {"english": ("en",), "others": ("en",)}
    with pytest.raises(RankOneError, match="the text has fr, en: trained: must have at least 2 items"):
        config.on_domains(["fr", "en"])


def test_presets_change_a_recipe(values, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({**values, "presets": {"quick": {"seeds": 1}}}))
    assert read_recipe(path).seeds == 2
    assert read_recipe(path, "quick").seeds == 1
    assert read_recipe(path, "quick", seeds=5).seeds == 5
    with pytest.raises(RankOneError, match="has no preset 'quik'; it has quick"):
        read_recipe(path, "quik")
