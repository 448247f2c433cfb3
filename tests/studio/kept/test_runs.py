"""Runs of a workspace: what they wrote, thinned, while they go on; nothing behind links, nothing that is not a number."""

from __future__ import annotations

import json
import os

import pytest

from rankone.core.errors import RankOneError
from rankone.studio.kept import runs as module
from rankone.studio.kept.runs import Runs


def _write(folder, rows, end=""):
    folder.mkdir(parents=True)
    text = "".join(json.dumps(row) + "\n" for row in rows) + end
    (folder / "metrics.jsonl").write_text(text)


def test_runs_are_listed_the_last_writer_first(tmp_path):
    _write(tmp_path / "old" / "deep", [{"step": 1, "loss": 2.0}])
    os.utime(tmp_path / "old" / "deep" / "metrics.jsonl", (0, 0))
    _write(tmp_path / "new", [{"step": 1, "loss": 2.0}])
    _write(tmp_path / ".hidden", [{"step": 1, "loss": 2.0}])
    (tmp_path / "link").symlink_to(tmp_path / "new")
    listed = Runs(tmp_path).list()
    assert [(run.name, run.going) for run in listed] == [("new", True), ("old/deep", False)]


def test_numbers_of_whole_lines_alone(tmp_path):
    rows = [{"step": 1, "loss": 2.5, "note": "x", "on": True}, {"step": 2, "loss": float("nan"), "kl": 1}]
    _write(tmp_path / "run", rows, end='{"step": 3, "lo')
    runs = Runs(tmp_path)
    metrics = runs.metrics(runs.list()[0].id)
    assert metrics.steps == (1, 2)
    assert metrics.values == {"loss": (2.5, None), "kl": (None, 1.0)}
    with pytest.raises(RankOneError, match="no run of that id"):
        runs.metrics("../run")


def test_a_long_run_is_thinned_and_its_last_step_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "POINTS", 4)
    _write(tmp_path / "run", [{"step": step, "loss": 1.0} for step in range(10)])
    runs = Runs(tmp_path)
    assert runs.metrics(runs.list()[0].id).steps == (0, 3, 6, 9)


def test_of_a_huge_file_the_end_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BYTES", 100)
    _write(tmp_path / "run", [{"step": step, "loss": 1.0} for step in range(50)])
    runs = Runs(tmp_path)
    steps = runs.metrics(runs.list()[0].id).steps
    assert steps[-1] == 49
    assert 2 <= len(steps) <= 4
