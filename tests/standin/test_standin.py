"""Training, fits and every verb that computes, on a stand-in GPU: all tensors of an operation are on one device."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.standin.jobs import JOBS
from tests.standin.verbs import VERBS

HERE = Path(__file__).resolve().parent
NAMES = [*JOBS, *VERBS]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="the stand-in's guard needs a C++ compiler"),
    pytest.mark.skipif(torch.version.cuda is not None, reason="a build with CUDA needs no stand-in"),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What every job came to: 'ok' or its error."""
    folder, root = tmp_path_factory.mktemp("standin"), Path(torch.__file__).parent
    library = folder / "device.so"
    compiled = ["g++", "-std=c++20", "-O1", "-shared", "-fPIC", str(HERE / "device.cpp"), "-o", str(library)]
    subprocess.run(
        [
            *compiled,
            f"-I{root}/include",
            f"-I{root}/include/torch/csrc/api/include",
            f"-L{root}/lib",
            "-lc10",
            "-ltorch_cpu",
        ],
        check=True,
    )
    preloaded = {"LD_PRELOAD": str(library), "LD_LIBRARY_PATH": str(root / "lib")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.standin.jobs", str(folder)],
        env=os.environ | preloaded,
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.partition(": ") for line in done.stdout.splitlines() if ": " in line]
    return {name: said for name, _, said in lines if name in NAMES} | {"all": done.stderr[-4000:]}


@pytest.mark.parametrize("job", NAMES)
def test_a_job_stays_on_its_device(outcomes, job):
    assert outcomes.get(job) == "ok", (outcomes.get(job), outcomes["all"])
