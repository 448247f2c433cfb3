"""The job's selection from a harvest and its labels."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from tests.decomposition.tiny import decomposed
from tests.harvest.counted import Counted
from tests.labels.written import labelled
from tests.tiny import tiny_model

from rankone.benchmark import job as module
from rankone.benchmark.config import JobConfig, resolved
from rankone.benchmark.job import Job
from rankone.errors import RankOneError

BASE = {"trained": ["de", "en"], "evaluated": ["de", "en", "fr"], "budgets": {"scalar": [4]}}


def test_the_choice_is_by_harvest_and_labels_and_measures_nothing(tokenizer, corpus, monkeypatch):
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
    monkeypatch.setattr(module, "cross_entropies", None)
    config = JobConfig.model_validate({**BASE, "harvest": "h", "labels": "l"})
    job = Job(config, model, tokenizer, decomposition, corpus)
    assert job.importances.domains == ["de", "en"]  # fr was harvested, but nothing here may look at it
    assert job.choice[0].name == second
    assert opened == [("h", decomposition, model), ("l", "f" * 64)]
    assert [m.components for m in job.starts("scalar")] == [[second], [second]]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"budgets": {}}, "budgets: Dictionary should have at least 1 item"),
        ({"budgets": {"scaler": [4]}}, "budgets.scaler.*should be 'scalar', 'top16'"),
        ({"budgets": {"scalar": []}}, "budgets.scalar: List should have at least 1 item"),
        ({"budgets": {"scalar": [4, 0]}}, "budgets.scalar.1: Input should be greater than 0"),
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
