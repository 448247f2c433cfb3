"""Which device a process runs on, without needing one."""

from __future__ import annotations

import pytest
import torch

from rankone.core.errors import RankOneError
from rankone.runtime import device
from rankone.runtime.device import require_device, run_device


@pytest.mark.parametrize(
    ("gpus", "environment", "expected"),
    [
        (0, {}, "cpu"),
        (0, {"LOCAL_RANK": "3"}, "cpu"),
        (1, {}, "cuda:0"),
        (4, {"LOCAL_RANK": "3", "RANK": "7"}, "cuda:3"),
    ],
)
def test_a_process_has_the_gpu_of_its_local_rank(gpus, environment, expected):
    assert run_device(gpus, environment) == torch.device(expected)


def test_more_processes_than_gpus_are_refused():
    with pytest.raises(RankOneError, match=r"process 2 .*it has 2.*--nproc-per-node 2"):
        run_device(2, {"LOCAL_RANK": "2"})


def test_this_machine_is_asked():
    assert run_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_names_of_devices(monkeypatch):
    require_device("cpu")
    for name in ("gpu", "cuda:", "cpu:0", ""):
        with pytest.raises(RankOneError, match=f"unknown device '{name}'; give cpu"):
            require_device(name)
    monkeypatch.setattr(device.sys, "platform", "linux")
    with pytest.raises(RankOneError, match=r"no device 'mps': mps is for Apple's processors\. Give cpu"):
        require_device("mps")
    monkeypatch.setattr(device.sys, "platform", "darwin")
    require_device("mps")
