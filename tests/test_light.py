"""What is imported when: help, refusals and light modules bring no heavy library with them.

The heavy libraries are blocked in a fresh interpreter, so that the first import of one fails with its name: this does not
depend on how fast or busy a machine is.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.fresh import run

HEAVY = (
    "torch",
    "transformers",
    "numpy",
    "pyarrow",
    "duckdb",
    "matplotlib",
    "datasets",
    "peft",
    "scipy",
    "openai",
)
# Each takes tens of milliseconds; the package itself needs none of them.
MEDIUM = ("pydantic", "typer", "rich", "huggingface_hub", "httpx2", "jinja2")
# What the command line and a refusal need before a model is opened.
LIGHT = (
    "rankone.core.artifact",
    "rankone.core.config",
    "rankone.core.errors",
    "rankone.core.escaping",
    "rankone.core.schedule",
    "rankone.runtime.progress",
    "rankone.runtime.quiet",
    "rankone.models.sources.names",
    "rankone.text.corpus",
    "rankone.text.opening",
    "rankone.text.sources.builtin",
    "rankone.text.sources.directory",
    "rankone.text.sources.hub",
    "rankone.harvest.config",
    "rankone.harvest.reading.page",
    "rankone.clustering.config",
    "rankone.edits.fitting.aim",
    "rankone.edits.requests",
    "rankone.experiments.requests",
    "rankone.labels.model.budget",
    "rankone.labels.model.server",
    "rankone.models.pretraining.config",
    "rankone.decomposition.ground_truth.recipe",
    "rankone.experiments.config",
    "rankone.experiments.real_model.config",
    "rankone.cli",
)


def command(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line where no heavy library can be imported."""
    return run(f"sys.argv = {['rankone', *words]!r}\nfrom rankone.cli import main\nmain()", HEAVY, folder)


def test_the_block_blocks():
    assert "No module named 'torch'" in run("import torch", ("torch",)).stderr


def test_the_package_alone_imports_next_to_nothing():
    done = run("import rankone", HEAVY + MEDIUM)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_without_heavy_libraries(module):
    done = run(f"import {module}", HEAVY)
    assert done.returncode == 0, done.stderr


def test_help_needs_no_heavy_library(tmp_path):
    done = command("--help", folder=tmp_path)
    assert (done.returncode, "decompose" in done.stdout) == (0, True), done.stderr
