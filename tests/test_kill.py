"""A real command killed in the middle of training goes on and ends with the bits of an uninterrupted run.

Two of the three are slow: that a run which was cut off ends as another is held by models/test_pretraining.py and
harvest/test_harvest.py in the test's process, and `python -m tests.soundness.kills` kills every command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tests.helpers import laddered
from tests.tiny import rankone, write_pair

from perf import tiny
from rankone.core.artifact import open_artifact
from rankone.decomposition import run as decomposition_run

PATIENCE = 300  # seconds; a loaded machine takes long to import


def kill_in_the_middle(words, run, sign="checkpoints/step-*/manifest.json"):
    """Start a command, and SIGKILL it as soon as its first checkpoint (or other sign of life) stands."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rankone", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        limit = time.monotonic() + PATIENCE
        while not list(run.glob(sign)):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < limit, "no checkpoint"
            time.sleep(0.002)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture
def one_thread():
    """Both processes with as many threads: sums are split alike."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def killed_equals_whole(words, folder, steps, name):
    """Kill, resume and compare the tensors with those of a run that was left alone."""
    killed = [*words, "--out", folder / "killed", "--run", folder / "killed.run"]
    kill_in_the_middle(killed, folder / "killed.run")
    saved = max(int(p.name.removeprefix("step-")) for p in (folder / "killed.run/checkpoints").glob("step-*"))
    assert 0 < saved < steps, "killed too late to tell anything"
    assert not (folder / "killed").exists()
    resumed = rankone(*killed, quiet=False)
    assert resumed.code == 0, resumed.err
    assert f"resuming at step {saved}" in resumed.err
    whole = rankone(*words, "--out", folder / "whole")
    assert whole.code == 0, whole.err
    assert "resuming" not in whole.out
    first, second = (load_file(folder / f / name) for f in ("killed", "whole"))
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


@pytest.mark.slow
def test_pretrain(tmp_path, one_thread):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tiny.pretrain(8000)), "utf8")
    words = ["pretrain", recipe, "--text", "builtin", "--preset", "tiny"]
    killed_equals_whole(words, tmp_path, steps=124, name="model.safetensors")


def test_decompose(tmp_path, one_thread, tokenizer, monkeypatch):
    model, _ = write_pair(tmp_path / "pair", tokenizer, len(tokenizer))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(tiny.decompose(40)), "utf8")
    # Evidence is not what this test is about, and costs more than the training: one step of the adversary.
    quick = laddered(decomposition_run.account_on, (1,))
    monkeypatch.setattr(decomposition_run, "account_on", quick)
    words = ["decompose", model, "--recipe", recipe, "--text", "builtin"]
    killed_equals_whole(words, tmp_path, steps=40, name="tensors.safetensors")


@pytest.mark.slow
def test_harvest(tmp_path, one_thread, tokenizer):
    model, decomposition = write_pair(tmp_path / "pair", tokenizer, len(tokenizer))
    words = ["harvest", decomposition, "--model", model, "--domains", "de", "--domains", "en"]
    words += ["--tokens", 3000, "--examples", 20, "--batch-tokens", 128, "--chunk-tokens", 200]
    kill_in_the_middle(
        [*words, "--out", tmp_path / "killed"], tmp_path / "killed.run", "*/chunk-*/manifest.json"
    )
    assert not list((tmp_path / "killed.run").glob("*/finished.json")), "killed too late to tell anything"
    resumed = rankone(*words, "--out", tmp_path / "killed", quiet=False)
    assert resumed.code == 0, resumed.err
    assert "resuming at batch" in resumed.err
    assert not (tmp_path / "killed.run").exists(), "one copy of the data is left"
    whole = rankone(*words, "--out", tmp_path / "whole")
    assert whole.code == 0, whole.err
    first, second = (open_artifact(tmp_path / name, "harvest") for name in ("killed", "whole"))
    assert first.fingerprint == second.fingerprint
