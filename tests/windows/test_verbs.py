"""Every verb that writes keeps Windows' rules of files, and none needs a module of Unix alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.windows.jobs import JOBS

# One of each way to write: an edit, a table, an export that other tools read, a run that goes on, a graph.
CODE = """
import runpy
from rankone.runtime.memory import spare_imported
spare_imported()
runpy.run_module("tests.windows.jobs", run_name="__main__")
"""
QUICK = ("edit", "adapter", "harvest", "label", "resumed")


def outcomes(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """What came of each job: 'ok', or what Windows would have refused."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(folder / "jobs"), *names],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | {"TMPDIR": str(folder)},
        capture_output=True,
        text=True,
    )
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert all(name in said for name in names), done.stderr
    return said


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """The quick jobs, in one process."""
    return outcomes(tmp_path_factory.mktemp("quick"), QUICK)


@pytest.mark.parametrize("job", QUICK)
def test_what_is_written_every_day_keeps_the_rules(quick, job):
    assert quick[job] == "ok"


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """All others, in one process."""
    return outcomes(tmp_path_factory.mktemp("others"), tuple(name for name in JOBS if name not in QUICK))


@pytest.mark.slow
@pytest.mark.parametrize("job", [name for name in JOBS if name not in QUICK])
def test_every_other_verb_keeps_the_rules(others, job):
    assert others[job] == "ok"
