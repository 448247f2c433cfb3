"""A run of several processes that is killed goes on: to the bit with as many, closely with another number or layout."""

from __future__ import annotations

import json
import os
import signal

import numpy as np
import pytest
import torch
from tests.decomposition.parallel.test_machine import built
from tests.processes import Failed, together

from rankone.core.artifact import open_artifact
from rankone.decomposition.parallel.sharding import consolidated
from rankone.decomposition.training import loop as module
from rankone.decomposition.training.loop import train
from rankone.runtime import checkpoint
from rankone.runtime.checkpoint import SavedTensors, Split, load_checkpoint

KILLED_AT = 4


def trained(ranks, run, name, machine, kill=None):
    """All parameters after six steps with a checkpoint at every second; `kill` says where the process dies."""
    trainer = built(name, **machine)
    trainer.config = trainer.config.model_copy(update={"checkpoint_every": 2})
    if kill == "step":
        die_at_step(trainer)
    elif kill is not None:
        die_while_saving(ranks, kill)
    assert train(trainer, run, "hash", log_every=1)
    whole = consolidated(trainer.decomposition)
    found = {k: p.detach().numpy() for k, p in whole.named_parameters()}
    return found | {f"adversary {ranks.rank}": trainer.adversary.source.numpy()}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_step(trainer):
    step = trainer.step
    trainer.step = lambda index: die() if index == KILLED_AT + 1 else step(index)


def die_while_saving(ranks, kill):
    """The last checkpoint is half written: this process's file is, or is not, and no manifest."""
    save = checkpoint.save_tensors

    def saved(path, tensors):
        if f"step-{KILLED_AT + 2:07d}" in str(path):
            if kill == "after":
                save(path, tensors)
            die()
        save(path, tensors)

    module.save_checkpoint.__globals__["save_tensors"] = saved


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf8").splitlines()]
    return [{k: v for k, v in line.items() if k != "it/s"} for line in lines]


CASES = {
    "ddp": ("bc, pool", {}),
    "shared sources": ("sc", {"accumulation": 2}),
    "fsdp": ("merged", {"sharding": "fsdp"}),
}


@pytest.mark.parametrize(("name", "kill"), [("ddp", "step"), ("shared sources", "before"), ("fsdp", "after")])
def test_a_killed_run_goes_on(tmp_path, name, kill):
    case, machine = CASES[name]
    whole = together(2, trained, tmp_path / "whole", case, machine)
    with pytest.raises(Failed, match="gave no answer"):
        together(2, trained, tmp_path / "cut", case, machine, kill)
    folders = sorted(p.name for p in (tmp_path / "cut" / "checkpoints").glob("step-*"))
    assert folders == [f"step-{KILLED_AT:07d}"]
    copy = tmp_path / "copy"
    os.system(f"cp -r '{tmp_path / 'cut'}' '{copy}'")
    again = together(2, trained, tmp_path / "cut", case, machine)
    for ours, theirs in zip(again, whole, strict=True):
        assert ours.keys() == theirs.keys()
        assert [k for k in ours if not np.array_equal(ours[k], theirs[k])] == []
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")
    (one,) = together(1, trained, copy, case, {})
    for key, value in whole[0].items():
        if key.startswith("adversary"):
            continue
        assert (np.abs(one[key] - value) > 2e-4).mean() < 0.02, key


def test_one_process_s_run_goes_on_with_two(tmp_path):
    case, _ = CASES["ddp"]
    (whole,) = together(1, trained, tmp_path / "whole", case, {})
    with pytest.raises(Failed):
        together(1, trained, tmp_path / "cut", case, {}, "step")
    for rank, ours in enumerate(together(2, trained, tmp_path / "cut", case, {"sharding": "fsdp"})):
        own = np.split(whole["adversary 0"], 2)[rank]
        assert (np.abs(ours[f"adversary {rank}"] - own) > 1e-3).mean() < 0.02
        for key, value in whole.items():
            if not key.startswith("adversary"):
                assert (np.abs(ours[key] - value) > 2e-4).mean() < 0.02, key


def written(ranks, run):
    """A checkpoint of two tensors that are split, along either axis, and one that is not."""
    rows, columns = torch.arange(15.0).view(5, 3), torch.arange(8.0).view(2, 4)
    a, b = ranks.share(5), ranks.share(4)
    tensors = {"rows": rows[a], "columns": columns[:, b], "all": torch.tensor(7.0)}
    splits = {"rows": Split(0, a.start, a.stop - a.start), "columns": Split(1, b.start, b.stop - b.start)}
    checkpoint.save_checkpoint(run, checkpoint.State(3, tensors, {}, splits), "hash")
    state = load_checkpoint(run, "hash")
    return state.tensors["rows"].tolist()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_parts_are_put_together_and_cut_anew(tmp_path, size):
    expected = torch.arange(15.0).view(5, 3)
    assert together(size, written, tmp_path) == [expected.tolist()] * size
    path = tmp_path / "checkpoints" / "step-0000003"
    open_artifact(path, checkpoint.KIND)
    assert len(list(path.glob("*.safetensors"))) == size
    saved = load_checkpoint(tmp_path, "hash").tensors
    assert isinstance(saved, SavedTensors)
    assert sorted(saved) == ["all", "columns", "rows"]
    assert torch.equal(saved["columns"], torch.arange(8.0).view(2, 4))
    assert saved["all"].item() == 7
    for first in range(5):
        for length in range(6 - first):
            found = checkpoint.part_of(saved, "rows", Split(0, first, length))
            assert torch.equal(found, expected[first : first + length])
    # Across the axis it was written by.
    assert torch.equal(checkpoint.part_of(saved, "rows", Split(1, 1, 2)), expected[:, 1:])
