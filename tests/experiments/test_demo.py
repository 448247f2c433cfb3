"""The demo says what is lacking before it writes or fits anything."""

from __future__ import annotations

import pytest
from tests.decomposition.tiny import decomposed
from tests.helpers import workspace
from tests.tiny import tiny_model

from rankone.core.artifact import write_json
from rankone.core.errors import RankOneError
from rankone.experiments import demo
from rankone.experiments.config import JobConfig
from rankone.experiments.demo import run_demo
from rankone.experiments.job import Job

BASE = {"trained": ["de", "en"], "evaluated": ["de", "en"], "budgets": {"scalar": [4]}, "seeds": 1}


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
