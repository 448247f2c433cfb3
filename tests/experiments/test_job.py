"""The job's selection from a harvest and its labels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from tests.decomposition.tiny import decomposed
from tests.harvest.counted import Counted
from tests.helpers import workspace
from tests.labels.written import labelled
from tests.tiny import tiny_model

from rankone.core.artifact import write_json
from rankone.core.errors import RankOneError
from rankone.edits.gradients import scale_gradients
from rankone.edits.ranking.measured import Tried
from rankone.edits.selection import specificity
from rankone.experiments import job as module
from rankone.experiments.bench.cells import grid_cells, tuning_cells
from rankone.experiments.config import BenchConfig, DemoConfig, read_demo, read_recipe
from rankone.experiments.job import Job
from rankone.labels.statistics.statistical import statistical_label

BASE = {
    "trained": ["de", "en"],
    "evaluated": ["de", "en", "fr"],
    "retain": {"english": ["en"]},
    "methods": ["scalar"],
    "budgets": {"scalar": [4]},
}


def test_candidates_are_of_the_named_harvest_and_labels_and_the_pick_is_measured(
    tokenizer, corpus, monkeypatch
):
    model = tiny_model(len(tokenizer))
    decomposition = decomposed(model, "random")
    first, second, third = decomposition.names()[:3]
    counts = {first: (90, 1, 0), second: (60, 0, 60), third: (5, 5, 5)}
    store = Counted({"de": 100, "en": 100, "fr": 100}, counts)
    store.artifact = SimpleNamespace(fingerprint="f" * 64)
    labels = labelled({first: ("text", 0.9), second: ("German words", 0.9), third: ("German", 0.9)})
    opened = []
    monkeypatch.setattr(module.HarvestStore, "open", lambda *a: opened.append(a) or store)
    monkeypatch.setattr(module, "open_labels", lambda *a: opened.append(a) or labels)
    config = BenchConfig.model_validate({**BASE, "harvest": "h", "labels": "l"})
    job = Job(config, workspace(model, decomposition, tokenizer, corpus), "english")
    assert job.importances.domains == ["de", "en"]  # fr was harvested, but nothing here may look at it
    monkeypatch.setattr(
        module, "measured", lambda *a: [Tried(name, 0.0, 1.0, 0.0) for name in reversed(a[2])]
    )
    assert [t.name for t in job.tried] == [
        second
    ]  # the others are not labelled as German alone, or not specific
    assert job.pick == second
    assert opened == [("h", decomposition, model), ("l", "f" * 64)]
    assert [m.components for m in job.starts("scalar")] == [[second], [second]]


def test_methods_of_a_job_rank_by_label_gradient_and_measure(tokenizer, corpus, monkeypatch):
    """The steepest are those of |gradient| on the text to forget less its mean elsewhere; coordinates are measured alike."""
    model = tiny_model(len(tokenizer))
    decomposition = decomposed(model, "random")
    first, second, *_ = decomposition.names()
    store = Counted({"de": 100, "en": 100}, {first: (90, 1), second: (60, 1)})
    store.artifact = SimpleNamespace(fingerprint="f" * 64)
    labels = labelled({first: ("German words", 0.9), second: ("Germanic text and English", 0.9)})
    monkeypatch.setattr(module.HarvestStore, "open", lambda *a: store)
    monkeypatch.setattr(module, "open_labels", lambda *a: labels)
    asked = []
    monkeypatch.setattr(
        module,
        "measured",
        lambda *a: asked.append(a[2]) or [Tried(name, 0.0, 1.0, 0.0) for name in reversed(a[2])],
    )
    config = BenchConfig.model_validate({**BASE, "harvest": "h", "labels": "l", "selection_tokens": 200})
    space = workspace(model, decomposition, tokenizer, corpus)
    job = Job(config, space, "english")
    assert job.starts("labelled16")[0].components == [first]
    steepest = job.starts("steepest16")[0].components
    slopes = {d: scale_gradients(space, space.blocks(d, "train", 200)).abs() for d in ("de", "en")}
    best = (slopes["de"] - slopes["en"]).topk(16).indices.tolist()
    assert steepest == [decomposition.names()[i] for i in best]
    (neuron,) = job.starts("best_neuron")[0].components
    assert neuron == asked[-1][-1]
    assert len(asked[-1]) == 10
    assert all(name.startswith("neuron/") for name in asked[-1])
    together = [SimpleNamespace(members=["x:1"]), SimpleNamespace(members=["y:2", job.pick])]
    seen = []
    monkeypatch.setattr(module, "clustered", lambda *a: seen.append(a[1]) or together)
    assert job.target.component() == ["y:2", job.pick]
    assert (seen[0].domains, seen[0].tokens) == (("de", "en"), 200)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"budgets": {}}, "budgets names no budget of the method 'scalar'"),
        ({"methods": ["scaler"]}, "unknown method 'scaler'. Nearest: scalar"),
        ({"budgets": {"scaler": [4]}}, "unknown method 'scaler'. Nearest: scalar"),
        ({"budgets": {"scalar": []}}, "budgets.scalar: must have at least 1 item"),
        ({"budgets": {"scalar": [4, 0]}}, "must be greater than 0"),
        ({"budgets": {"scalar": [4, 4]}}, "budgets scalar names one twice: 4, 4"),
        ({"evaluated": ["en", "fr"]}, "evaluated lacks de"),
        ({"trained": ["de", "fr"]}, "trained lacks en"),
        ({"judged": "de"}, "forget and judged are both 'de'"),
        ({"retain": {"one": ["en"], "two": ["en"]}}, "a report has one retain set, and these are one, two"),
        ({"retain": "en"}, "retain holds named sets"),
        ({"weights": [0.1, 1.0]}, "a report has one weight"),
        ({"sized": True}, "a report looks at fits in their size alone"),
        ({"alphas": []}, "alphas: must have at least 1 item"),
    ],
)
def test_a_job_that_could_not_be_reported_is_refused_when_it_is_read(change, complaint):
    with pytest.raises(RankOneError, match=complaint):
        DemoConfig.checked({**BASE, **change}, "job")


def test_harvest_and_labels_belong_together_and_lie_beside_the_recipe(tmp_path, monkeypatch):
    with pytest.raises(RankOneError, match="harvest and labels belong together"):
        DemoConfig.checked({**BASE, "harvest": "h"}, "job")
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump({**BASE, "harvest": "h", "labels": "/l"}))
    config = read_recipe(path)
    assert (config.harvest, config.labels) == (str(tmp_path / "h"), "/l")
    monkeypatch.chdir(tmp_path)  # What is recorded of a relative recipe holds in every folder.
    (tmp_path / "recipes").mkdir()
    path.rename("recipes/job.yaml")
    path = Path("recipes/job.yaml")
    path.write_text(yaml.safe_dump({**BASE, "harvest": "../h", "labels": "l", "sae": "../sae"}))
    config = read_recipe(path)
    named = [str(tmp_path / name) for name in ("h", "recipes/l", "sae")]
    assert [config.harvest, config.labels, config.sae] == named


def test_model_decomposition_and_text_are_named_in_full(tmp_path, monkeypatch):
    """So that a record holds in every folder: what lies beside the recipe first, else what lies here."""
    folder, here = tmp_path / "recipes", tmp_path / "here"
    for made in ("recipes/both", "here/both", "here/model", "recipes/data", "here/mini"):
        (tmp_path / made).mkdir(parents=True)
    monkeypatch.chdir(here)
    path = folder / "job.yaml"

    def named(**changes):
        overrides = {"text": changes.pop("over")} if "over" in changes else {}
        path.write_text(yaml.safe_dump({**BASE, **changes}))
        config = read_recipe(path, **overrides)
        return config.model, config.decomposition, config.text

    assert named() == ("mini", "mini-decomposition", "builtin")
    assert named(model="both", decomposition="model") == (
        str(folder / "both"),
        str(here / "model"),
        "builtin",
    )
    assert named(model="./mini")[0] == str(here / "mini")
    assert named(model="owner/name", text="owner/texts?domains=de")[::2] == (
        "owner/name",
        "owner/texts?domains=de",
    )
    assert named(text="data")[2] == str(folder / "data")
    assert named(text="builtin, lower:../here/both")[2] == f"builtin,lower:{here / 'both'}"
    assert named(text="hf:data?field=text")[2] == f"hf:{folder / 'data'}?field=text"
    assert named(text="data", over="both")[2] == str(here / "both")
    path.write_text(yaml.safe_dump({**BASE, "model": "both"}))
    assert read_recipe(Path("../recipes/job.yaml")).model == str(folder / "both")


def test_a_file_without_rates_is_named_with_the_mend(tmp_path):
    path, rates = tmp_path / "job.yaml", tmp_path / "rates.json"
    path.write_text(yaml.safe_dump({**BASE, "rates_from": "rates.json"}))
    for document in ({}, {"rates": {}}, {"rates": None}):
        write_json(rates, document)
        with pytest.raises(
            RankOneError, match=f"'{rates}' holds no rates: rates_from of a recipe wants a file of"
        ):
            read_recipe(path)
    write_json(rates, {"rates": {"neuron": {"4": {"learning_rate": 0.1, "retain_weight": 1}}, "scalar": {}}})
    with pytest.raises(RankOneError, match=f"'{rates}' holds no rates of scalar: rates_from"):
        read_recipe(path)
    path.write_text(yaml.safe_dump({**BASE, "rates_from": "."}))
    with pytest.raises(
        RankOneError, match=f"'{tmp_path}' is a folder: rates_from of a recipe wants a file of"
    ):
        read_recipe(path)
    path.write_text(yaml.safe_dump({**BASE, "rates_from": "rates.json"}))
    write_json(rates, {"rates": {"scalar": {"4": {"learning_rate": "high", "retain_weight": 1}}}})
    with pytest.raises(RankOneError, match=f"{rates}: rates.scalar.4.learning_rate: must be a valid number"):
        read_recipe(path)
    assert read_demo(path, rates=False).rates_from is None


def test_rates_that_were_chosen_before_are_those_of_the_budget_or_the_nearest_below(tmp_path):
    rates = {"lora_r1": {n: {"learning_rate": n / 100, "retain_weight": 4, "margin": 1.1} for n in (4, 16)}}
    path = tmp_path / "job.yaml"
    path.write_text(
        yaml.safe_dump({**BASE, "methods": ["scalar", "lora_r1"], "budgets": [2, 8], "rates": rates})
    )
    config = read_recipe(path)
    assert [config.rate("lora_r1", budget).learning_rate for budget in (2, 8, 99)] == [0.04, 0.04, 0.16]
    assert config.weights_of("lora_r1", 8) == (4.0,)
    assert config.learning_rates("lora_r1") == ()
    assert list(tuning_cells(config, "lora_r1", "english")) == []
    chosen = {budget: config.rate("lora_r1", budget) for budget in (2, 8)}
    cells = list(grid_cells(config, "lora_r1", "english", chosen))
    assert {(c.retain_weight, c.cap, c.learning_rate) for c in cells} == {(4.0, 1.1, 0.04)}
    assert {
        c.cap
        for c in grid_cells(config, "scalar", "english", dict.fromkeys((2, 8), config.rate("scalar", 2)))
    } == {None}


def test_without_a_harvest_one_is_made_of_training_text_with_labels_on_demand(tokenizer, corpus, monkeypatch):
    model = tiny_model(len(tokenizer))
    decomposition = decomposed(model, "random")
    first, second = decomposition.names()[:2]
    store = Counted({"de": 100, "en": 100}, {first: (90, 1), second: (60, 0)})
    said = labelled({first: ("text", 0.9), second: ("German words", 0.9)})
    made = []
    monkeypatch.setattr(module, "brief_harvest", lambda *a: made.append(a) or store)
    monkeypatch.setattr(module, "StatisticalLabels", lambda pages: said if pages is store else None)
    job = Job(
        BenchConfig.model_validate({**BASE, "selection_tokens": 70}),
        workspace(model, decomposition, tokenizer, corpus),
        "english",
    )
    assert job.pick == second
    assert made == [(job.workspace, ("de", "en"), 70)]


def test_the_table_of_candidates(tokenizer, corpus):
    """A real harvest of a tiny model: labels, importances and telling tokens are those of the store."""
    model = tiny_model(len(tokenizer))
    decomposition = decomposed(model, "random")
    job = Job(
        BenchConfig.model_validate({**BASE, "selection_tokens": 60}),
        workspace(model, decomposition, tokenizer, corpus),
        "english",
    )
    picked = decomposition.names()[5]
    job.tried = [Tried(picked, 0.0, 1.0, 0.0)]
    rows = job.part_rows(4)
    score = specificity(job.importances, "de").sort(descending=True).values[:3].tolist()
    assert [r["score"] for r in rows[:3]] == pytest.approx(score)
    assert rows[-1]["part"] == picked
    assert [r["picked"] for r in rows] == [False, False, False, True]
    for row in rows:
        page = job.store.page(row["part"])
        assert row["label"] == statistical_label(page).label
        assert row["importance_de"] == pytest.approx(page.domains[0].mean_importance, abs=1e-6)
        assert set(row["firing_tokens"]) <= {t.text for t in page.input_tokens}
        assert len(row["firing_tokens"]) == min(8, sum(t.pmi > 0 for t in page.input_tokens))
