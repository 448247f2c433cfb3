"""Every verb on a model in bf16: it works, or it is refused by name because its sums would not hold."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.standin.test_standin import HERE
from tests.standin.verbs import VERBS

pytestmark = pytest.mark.slow
# What adds up edges: too coarse in bf16, and said so.
REFUSED = {"graph", "graph-verify", "graph-intervene", "qk", "attributions"}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What every verb came to."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.standin.half", str(tmp_path_factory.mktemp("half"))],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.partition(": ") for line in done.stdout.splitlines()]
    return {name: said for name, _, said in lines if name in VERBS} | {"all": done.stderr[-4000:]}


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_in_half_precision(outcomes, name):
    said = outcomes.get(name, "")
    right = "too coarse" in said if name in REFUSED else said == "ok"
    assert right, (said, outcomes["all"])
