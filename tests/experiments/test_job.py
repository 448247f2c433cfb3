"""The job's selection from a harvest and its labels."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.decomposition.tiny import decomposed
from tests.harvest.counted import Counted
from tests.helpers import workspace
from tests.labels.written import labelled
from tests.tiny import tiny_model

from rankone.core.errors import RankOneError
from rankone.edits.gradients import scale_gradients
from rankone.edits.ranking.measured import Tried
from rankone.edits.selection import specificity
from rankone.experiments import job as module
from rankone.experiments.config import JobConfig, resolved
from rankone.experiments.job import Job
from rankone.labels.statistics.statistical import statistical_label

BASE = {"trained": ["de", "en"], "evaluated": ["de", "en", "fr"], "budgets": {"scalar": [4]}}


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
    config = JobConfig.model_validate({**BASE, "harvest": "h", "labels": "l"})
    job = Job(config, workspace(model, decomposition, tokenizer, corpus))
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
    config = JobConfig.model_validate({**BASE, "harvest": "h", "labels": "l", "selection_tokens": 200})
    space = workspace(model, decomposition, tokenizer, corpus)
    job = Job(config, space)
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
        ({"budgets": {}}, "budgets: Dictionary should have at least 1 item"),
        ({"budgets": {"scaler": [4]}}, "unknown method 'scaler'. Nearest: scalar"),
        ({"budgets": {"scalar": []}}, "budgets.scalar: List should have at least 1 item"),
        ({"budgets": {"scalar": [4, 0]}}, "budgets.scalar.1: must be greater than 0"),
        ({"budgets": {"scalar": [4, 4]}}, "budgets of scalar name one twice"),
        ({"evaluated": ["en", "fr"]}, "evaluated lacks de"),
        ({"trained": ["de", "fr"]}, "trained lacks en"),
        ({"retain": "de"}, "forget and retain are both 'de'"),
        ({"alphas": []}, "alphas: List should have at least 1 item"),
    ],
)
def test_a_job_that_could_not_be_reported_is_refused_when_it_is_read(change, complaint):
    with pytest.raises(RankOneError, match=complaint):
        JobConfig.checked({**BASE, **change}, "job")


def test_harvest_and_labels_belong_together(tmp_path):
    with pytest.raises(RankOneError, match="harvest and labels belong together"):
        JobConfig.checked({**BASE, "harvest": "h"}, "job")
    config = resolved(JobConfig.model_validate({**BASE, "harvest": "h", "labels": "/l"}), tmp_path)
    assert (config.harvest, config.labels) == (str(tmp_path / "h"), "/l")


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
        JobConfig.model_validate({**BASE, "selection_tokens": 70}),
        workspace(model, decomposition, tokenizer, corpus),
    )
    assert job.pick == second
    assert made == [(job.workspace, ["de", "en"], 70)]


def test_the_table_of_candidates(tokenizer, corpus):
    """A real harvest of a tiny model: labels, importances and telling tokens are those of the store."""
    model = tiny_model(len(tokenizer))
    decomposition = decomposed(model, "random")
    job = Job(
        JobConfig.model_validate({**BASE, "selection_tokens": 60}),
        workspace(model, decomposition, tokenizer, corpus),
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
