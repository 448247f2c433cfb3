"""The command under torchrun: two processes, killed, resumed; one message for what is wrong."""

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
from tests.tiny import RECIPE, write_pair

SECONDS = 900  # a loaded machine takes long to import
DECOMPOSE = {
    **RECIPE,
    "steps": 40,
    "rows": 4,
    "context": 16,
    "initialisation": "aligned",
    "compile": False,
    "checkpoint_every": 4,
}


def torchrun(*words):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*command, "-m", "rankone", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(*words):
    process = torchrun(*words)
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


@pytest.fixture
def words(tmp_path, tokenizer):
    model, _ = write_pair(tmp_path / "pair", tokenizer, len(tokenizer))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(DECOMPOSE), "utf8")
    return ["decompose", model, "--recipe", recipe, "--text", "builtin"]


@pytest.mark.slow
def test_a_killed_command_goes_on_with_two_processes(tmp_path, words):
    killed = torchrun(*words, "--out", tmp_path / "cut")
    limit = time.monotonic() + SECONDS
    while not list((tmp_path / "cut.run").glob("checkpoints/step-*/manifest.json")):
        assert killed.poll() is None, killed.communicate()
        assert time.monotonic() < limit, "no checkpoint"
        time.sleep(0.002)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    assert not (tmp_path / "cut").exists()
    code, _, err = finished(*words, "--out", tmp_path / "cut")
    assert code == 0, err
    assert err.count("resuming at step") == 1
    assert err.count("decompose: 40/40") == 1
    code, _, err = finished(*words, "--out", tmp_path / "whole")
    assert code == 0, err
    first, second = (load_file(tmp_path / name / "tensors.safetensors") for name in ("cut", "whole"))
    assert first.keys() == second.keys()
    assert [k for k in first if not torch.equal(first[k], second[k])] == []


@pytest.mark.slow
def test_what_is_wrong_is_said_once(tmp_path, words):
    code, _, err = finished(*words, "--out", tmp_path / "out", "--storage", "float8")
    assert code != 0
    assert err.count("rankone: decompose: unknown storage 'float8'") >= 1
    recipe = tmp_path / "odd.yaml"
    recipe.write_text(yaml.safe_dump({**DECOMPOSE, "rows": 3}), "utf8")
    code, _, err = finished(*words[:3], recipe, *words[4:], "--out", tmp_path / "out")
    assert code != 0
    assert err.count("rankone: 3 rows do not split into 2 processes") == 1
    code, _, err = finished("sites", "mini")
    assert code != 0
    assert "torchrun is for `rankone decompose`" in err
