"""Trackers are told what metrics.jsonl is told, by their real packages: event files and an offline run of W&B, read back."""

from __future__ import annotations

import json
import logging
import time

import pytest

from rankone.core.errors import RankOneError
from rankone.runtime.tracking import registry
from rankone.runtime.tracking.recording import Recorder, Tracking, recording
from rankone.runtime.tracking.registry import require_trackers, sinks
from rankone.runtime.tracking.tracker import Sink


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf8").splitlines()]


def scalars(run):
    """Name → {step: value} of a run's event files."""
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = event_accumulator.EventAccumulator(str(run / "tensorboard"))
    read.Reload()
    return {name: {e.step: e.value for e in read.Scalars(name)} for name in read.Tags()["scalars"]}


def test_without_trackers_there_is_the_file(tmp_path):
    with recording(tmp_path) as recorder:
        recorder.log(0, {"loss": 2.0})
        recorder.summary({"L0": 3.0})
    assert lines(tmp_path) == [{"step": 0, "loss": 2.0}]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_tensorboard_reads_what_was_logged(tmp_path):
    tracking = Tracking(trackers=("tensorboard",))
    with recording(tmp_path, tracking, {"steps": 4}) as recorder:
        for step in range(4):
            recorder.log(step, {"loss": 4.0 - step, "L0": step / 2})
        recorder.summary({"KL": 0.25})
    assert scalars(tmp_path) == {
        "loss": {0: 4.0, 1: 3.0, 2: 2.0, 3: 1.0},
        "L0": {0: 0.0, 1: 0.5, 2: 1.0, 3: 1.5},
        "summary/KL": {3: 0.25},
    }


def test_tensorboard_forgets_what_a_resumed_run_does_again(tmp_path):
    tracking = Tracking(trackers=("tensorboard",))
    with recording(tmp_path, tracking) as recorder:
        for step in range(5):
            recorder.log(step, {"loss": 10.0 + step})
    with recording(tmp_path, tracking) as recorder:  # its checkpoint stood at step 3
        recorder.log(3, {"loss": 1.0})
    assert scalars(tmp_path)["loss"] == {0: 10.0, 1: 11.0, 2: 12.0, 3: 1.0}


def test_wandb_keeps_an_offline_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    tracking = Tracking(trackers=("wandb",), name="mine", group="sweep")
    with recording(tmp_path, tracking, {"steps": 2}) as recorder:
        recorder.log(0, {"loss": 2.0})
        recorder.log(10, {"loss": 1.0})
        recorder.summary({"KL": 0.25})
    identity = (tmp_path / "wandb-id.txt").read_text("utf8").strip()
    (file,) = (tmp_path / "wandb").glob(f"offline-run-*-{identity}/*.wandb")
    said, rows = [], []
    for _ in range(100):  # a process of W&B's own writes the file
        said = records_of(file)
        rows = [logged(record) for record in said if record.HasField("history")]
        if len(rows) == 2:
            break
        time.sleep(0.1)
    assert [(row["step"], row["loss"]) for row in rows] == [(0, 2.0), (10, 1.0)]
    run = next(record.run for record in said if record.HasField("run"))
    assert (run.display_name, run.run_group, run.project) == ("mine", "sweep", "rankone")
    with recording(tmp_path, tracking) as recorder:
        recorder.log(20, {"loss": 0.5})
    assert (tmp_path / "wandb-id.txt").read_text("utf8").strip() == identity  # the same run


BLOCK, HEADER = 32768, 7


def records_of(file):
    """The records of a `.wandb` file: 7 bytes of W&B's own, then LevelDB's log format."""
    wandb_internal_pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    data, at, whole, records = file.read_bytes(), HEADER, b"", []
    assert data[:4] == b":W&B"
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # too little left in this block for a piece
            at += BLOCK - at % BLOCK
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + HEADER : at + HEADER + size]
        at += HEADER + size
        if kind in (1, 4):  # a whole record, or the last piece of one
            records.append(wandb_internal_pb2.Record())
            records[-1].ParseFromString(whole)
            whole = b""
    return records


def logged(record):
    """A row of a history record, by name."""
    items = record.history.item
    return {(i.nested_key[0] if i.nested_key else i.key): json.loads(i.value_json) for i in items}


class Breaks:
    """A tracker whose service goes away."""

    def __init__(self, tracked):
        if tracked.name == "refused":
            raise OSError("no key\nand more")

    def log(self, step, values):
        raise ConnectionError("gone")

    def summary(self, values): ...

    def close(self, failed): ...


@pytest.fixture
def breaks(monkeypatch):
    made = {**sinks(), "breaks": Sink("breaks", "json", "wandb", Breaks)}
    monkeypatch.setattr(registry, "sinks", lambda: made)
    monkeypatch.setattr("rankone.runtime.tracking.recording.sinks", lambda: made)


def test_one_that_breaks_is_let_go_and_the_run_goes_on(tmp_path, breaks, caplog):
    with (
        caplog.at_level(logging.WARNING, "rankone"),
        recording(tmp_path, Tracking(trackers=("breaks",))) as recorder,
    ):
        recorder.log(0, {"loss": 2.0})
        recorder.log(1, {"loss": 1.0})
    assert [row["step"] for row in lines(tmp_path)] == [0, 1]
    assert caplog.text.count("breaks broke off (ConnectionError: gone)") == 1


def test_one_that_cannot_be_opened_is_refused_in_one_line(tmp_path, breaks):
    recorder = Recorder(tmp_path, Tracking(trackers=("breaks",), name="refused"))
    with pytest.raises(RankOneError, match=r"tracking in breaks could not begin \(OSError: no key\)"):
        recorder.log(0, {"loss": 2.0})


def test_unknown_names_are_refused():
    with pytest.raises(RankOneError, match=r"no tracker is called 'tensorbord'.*Nearest: tensorboard"):
        require_trackers(["tensorbord"])
    assert set(sinks()) == {"tensorboard", "wandb"}
