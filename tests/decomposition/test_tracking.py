"""A decomposition that is tracked: event files hold the numbers of metrics.jsonl, over a stop too, and the evidence's."""

from __future__ import annotations

import json

import pytest
from tests.decomposition.test_sweep import quick as quick
from tests.decomposition.tiny import recipe, target
from tests.helpers import VOCAB
from tests.helpers import tokenizer as small_tokenizer
from tests.runtime.tracking.test_recording import scalars

from rankone.decomposition import sweep as module
from rankone.decomposition.run import decompose
from rankone.runtime.tracking.recording import Tracking
from rankone.subject import Subject
from rankone.text.sources.builtin import BuiltinCorpus


def subject():
    return Subject(target(vocab_size=VOCAB), small_tokenizer(), BuiltinCorpus())


def test_a_run_cut_off_is_one_curve(tmp_path, quick):
    config, run = recipe(steps=3, context=16, rows=2), tmp_path / "run"
    tracking = Tracking(trackers=("tensorboard",))
    assert decompose(config, subject(), run, tmp_path / "out", stop_after=2, tracking=tracking) is None
    decompose(config, subject(), run, tmp_path / "out", tracking=tracking)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf8").splitlines()]
    seen = scalars(run)
    name = next(key for key in rows[0] if key not in ("step", "it/s"))
    assert seen[name] == {row["step"]: pytest.approx(row[name], rel=1e-5) for row in rows}
    assert set(seen["summary/L0"]) == {2}
    assert any(key.startswith("summary/KL ") for key in seen)


def test_every_run_of_a_sweep_is_tracked(tmp_path, monkeypatch, quick):
    monkeypatch.setattr(module, "FACTORS", (0.5, 2.0))
    config = recipe(steps=2, context=16, rows=2)
    module.sweep(config, subject(), tmp_path / "run", tmp_path / "out", ("tensorboard",))
    for factor in ("0.5", "2"):
        assert scalars(tmp_path / "run" / f"factor-{factor}" / "run")["summary/L0"]
