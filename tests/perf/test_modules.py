"""Every script of perf/ is run as `python -m perf.NAME` from the root, as its documentation says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.stem for path in (ROOT / "perf").glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_takes_of_another_is_of_the_package(name):
    """`from fits import` is only there for `python perf/NAME.py`, which no other script can be run beside."""
    text = (ROOT / "perf" / f"{name}.py").read_text("utf8")
    taken = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    assert not taken.intersection(SCRIPTS)
    assert not re.search(rf"python perf/{name}\.py", text)
    for module in re.findall(r"^\s*from (perf\.\w+) import", text, re.MULTILINE):
        assert importlib.util.find_spec(module) is not None
