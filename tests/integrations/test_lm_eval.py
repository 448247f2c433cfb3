"""lm-eval before and after an edit, on a task of ours over local JSON lines."""

from __future__ import annotations

import json
from functools import cache

import pytest
import torch
from tests.integrations.letters import TASK
from tests.tiny import rankone, write_pair

from rankone.edits.scales import scale_edit
from rankone.models.loading import load_model
from rankone.parts.book import Book

pytest.importorskip("lm_eval")


@pytest.fixture(scope="module")
def here(tmp_path_factory, tokenizer):
    """A model, an edit of it that changes much, and a task folder; the 14,000 tasks of lm-eval are read once."""
    import datasets
    from lm_eval import tasks

    folder = tmp_path_factory.mktemp("lm-eval")
    model, _ = write_pair(folder, tokenizer, len(tokenizer))
    loaded = load_model(model)
    edit = scale_edit(Book([], loaded), {f"neuron/h.0.mlp.down_proj:{i}": 40.0 for i in range(24)})
    edit.bind(loaded).save_pretrained(folder / "edit")
    rows = [
        {"question": f"{word} is", "choices": [" the", " der", " of"], "answer": i % 3}
        for i, word in enumerate(["this", "das", "it", "dies", "that", "was"])
    ]
    (folder / "tasks").mkdir()
    data = folder / "tasks" / "letters.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf8")
    (folder / "tasks" / "letters.yaml").write_text(TASK.format(data=data), "utf8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "cache"))
        patch.setattr(tasks, "TaskManager", cache(tasks.TaskManager))
        yield folder


def test_both_sides_of_a_local_task_are_in_one_table(here):
    state = torch.get_rng_state()
    words = [
        "lm-eval",
        here / "edit",
        "--model",
        here / "model",
        "--tasks",
        "letters",
        "--include",
        here / "tasks",
    ]
    done = rankone(*words, "--limit", 6, "--out", here / "figures.json", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert [(f["task"], f["metric"]) for f in said["figures"]] == [
        ("letters", "acc"),
        ("letters", "brier_score"),
    ]
    accuracy, brier = said["figures"]
    assert 0 <= accuracy["base"] <= 1
    assert accuracy["base_error"] is not None
    assert brier["base"] != brier["edited"]
    assert json.loads((here / "figures.json").read_text("utf8")) == said
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_task_is_one_line(here):
    done = rankone(
        "lm-eval", here / "edit", "--model", here / "model", "--tasks", "lettres", "--include", here / "tasks"
    )
    assert done.code == 2
    assert "lm-eval has no task 'lettres'" in done.err
    assert "letters" in done.err
