"""Checkpoints: a run that was cut off goes on to the same bits; wrong or damaged ones are refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch import nn

from rankone.core.claims import staging_folder
from rankone.core.errors import RankOneError
from rankone.core.tensors import tensor_hash
from rankone.runtime.checkpoint import (
    State,
    append_metrics,
    load_checkpoint,
    pack_module,
    pack_optimizer,
    save_checkpoint,
    trim_metrics,
    unpack_module,
    unpack_optimizer,
)

OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "plain": lambda p: torch.optim.SGD(p, lr=0.01),
}


class Run:
    """A tiny training run whose whole state is a module, an optimizer and a random generator."""

    def __init__(self, optimizer):
        torch.manual_seed(1)
        self.model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.generator = torch.Generator().manual_seed(2)

    def train(self, steps):
        for _ in range(steps):
            x = torch.randn(4, 5, generator=self.generator)
            self.optimizer.zero_grad()
            self.model(x).square().sum().backward()
            self.optimizer.step()

    def save(self, folder, step):
        tensors = {"generator": self.generator.get_state()}
        tensors |= pack_module("model", self.model) | pack_optimizer("optimizer", self.optimizer)
        return save_checkpoint(folder, State(step, tensors, {"note": "x"}), "hash")

    def load(self, folder):
        state = load_checkpoint(folder, "hash")
        assert state is not None
        self.generator.set_state(state.tensors["generator"])
        unpack_module("model", self.model, state.tensors)
        unpack_optimizer("optimizer", self.optimizer, state.tensors)
        return state

    def hashes(self):
        tensors = pack_module("model", self.model) | pack_optimizer("optimizer", self.optimizer)
        return {name: tensor_hash(t) for name, t in tensors.items()}


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS))
def test_resuming_is_bit_exact(tmp_path, optimizer):
    whole = Run(optimizer)
    whole.train(9)
    first = Run(optimizer)
    first.train(4)
    first.save(tmp_path, 4)
    second = Run(optimizer)
    second.train(2)  # another state, which loading has to replace
    assert second.load(tmp_path).step == 4
    second.train(5)
    assert second.hashes() == whole.hashes()


def test_the_comparison_can_fail(tmp_path):
    """Without the optimizer's state the resumed run ends elsewhere."""
    whole, resumed = Run("adamw"), Run("adamw")
    whole.train(9)
    resumed.train(4)
    resumed.optimizer = OPTIMIZERS["adamw"](resumed.model.parameters())
    resumed.train(5)
    assert resumed.hashes() != whole.hashes()


def test_state_round_trip(tmp_path):
    tensors = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(3, dtype=torch.int64)}
    save_checkpoint(tmp_path, State(7, tensors, {"best": 0.5}), "hash")
    state = load_checkpoint(tmp_path, "hash")
    assert state is not None
    assert (state.step, state.values) == (7, {"best": 0.5})
    assert {n: tensor_hash(t) for n, t in state.tensors.items()} == {
        n: tensor_hash(t) for n, t in tensors.items()
    }


def test_only_the_newest_is_kept_and_the_same_step_can_be_written_again(tmp_path):
    for step in (1, 2, 2, 10):
        path = save_checkpoint(tmp_path, State(step, {"a": torch.tensor(float(step))}, {}), "hash")
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == [path.name] == ["step-0000010"]
    state = load_checkpoint(tmp_path, "hash")
    assert state is not None
    assert state.tensors["a"].item() == 10


def test_only_older_checkpoints_go_whatever_others_are_called(tmp_path):
    def saved(step):
        return save_checkpoint(tmp_path, State(step, {"a": torch.ones(1)}, {}), "hash")

    kept = [saved(1).with_name(name) for name in ("step-0000001-best", "step-7", "step-8")]
    shutil.copytree(tmp_path / "checkpoints/step-0000001", kept[0])
    kept[1].mkdir()
    kept[2].write_text("mine", "utf8")
    (tmp_path / "checkpoints/step-0000001/notes.md").write_text("mine", "utf8")
    newest = saved(9)
    left = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert left == {newest.name, "step-0000001", *(p.name for p in kept)}
    assert [p.name for p in (tmp_path / "checkpoints/step-0000001").iterdir()] == ["notes.md"]


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path, "hash") is None


def test_leftovers_of_a_killed_writer_are_not_taken_for_checkpoints(tmp_path):
    save_checkpoint(tmp_path, State(1, {"a": torch.ones(1)}, {}), "hash")
    staging_folder(tmp_path / "checkpoints/step-0000002")
    (tmp_path / "checkpoints/step-notes").mkdir()
    state = load_checkpoint(tmp_path, "hash")
    assert state is not None
    assert state.step == 1


def test_another_configuration_is_refused(tmp_path):
    save_checkpoint(tmp_path, State(1, {"a": torch.ones(1)}, {}), "hash")
    with pytest.raises(
        RankOneError, match=r"step-0000001' belongs to another configuration\. Use another run dir"
    ):
        load_checkpoint(tmp_path, "other")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = save_checkpoint(tmp_path, State(1, {"a": torch.ones(100)}, {}), "hash")
    file = path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RankOneError, match=r"state\.safetensors' was altered or truncated"):
        load_checkpoint(tmp_path, "hash")


def test_tied_parameters_are_packed_once():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    assert list(pack_module("m", model)) == ["m.0.weight"]


def test_metrics_are_trimmed_to_the_step_that_is_resumed(tmp_path):
    trim_metrics(tmp_path, 3)  # no file yet
    for step in (1, 2, 3, 4, 5):
        append_metrics(tmp_path, {"step": step, "loss": 1 / step})
    trim_metrics(tmp_path, 3)
    append_metrics(tmp_path, {"step": 4, "loss": 9.0})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text("utf8").splitlines()]
    assert [(r["step"], r["loss"]) for r in rows] == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 9.0)]


def test_a_line_that_a_full_disk_or_a_kill_cut_off_does_not_keep_a_run_from_going_on(tmp_path):
    append_metrics(tmp_path, {"step": 1, "loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 2, "lo')
    trim_metrics(tmp_path, 5)
    append_metrics(tmp_path, {"step": 2, "loss": 0.5})
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text("utf8").splitlines()]
    assert [r["step"] for r in rows] == [1, 2]
