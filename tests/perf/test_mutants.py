"""The mutation tool: which faults a file can have, and that a mutant is what is imported and found by a test that bites."""

from __future__ import annotations

import os
import subprocess
import sys

from perf.mutants import mirroring, mutants, survives
from tests.fresh import UNSEARCHED

from perf import mutants as module

CODE = '''"""Doc with 3."""
RATE: float = 0.5
def f(x: "3", y=2):
    """Doc."""
    if not x:
        raise ValueError(f"{x + 1}")
    return x < y
'''


def test_every_fault_of_a_file_by_hand(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(CODE, "utf8")
    assert [(m.line, m.fault) for m in mutants(path)] == [
        (2, "constant: 0.5  →  1.5"),
        (2, "constant: 0.5  →  0"),
        (3, "constant: 2  →  3"),
        (3, "constant: 2  →  0"),
        (5, "sign: not x  →  x"),
        (6, "statement: raise ValueError(f'{x + 1}')  →  pass"),
        (7, "comparison: x < y  →  x <= y"),
    ]
    space: dict = {}
    exec(list(mutants(path))[-1].code, space)
    assert space["f"](2) is True


def test_the_tests_that_mirror_a_file_come_first():
    near, whole = mirroring(module.SOURCE / "edits" / "fitting" / "adam.py")
    assert near == [module.TESTS / "edits" / "fitting" / "test_adam.py"]
    assert whole == [module.TESTS / "edits"]
    near, _ = mirroring(module.SOURCE / "edits" / "lowrank" / "applied.py")
    assert near == [module.TESTS / "edits" / f"test_{name}.py" for name in ("applied", "lowrank")]


def test_a_fault_is_killed_by_a_test_that_bites_and_by_no_other(tmp_path, monkeypatch):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "__init__.py").write_text("", "utf8")
    path = tmp_path / "toy" / "code.py"
    path.write_text("def double(x):\n    return x * 2\n", "utf8")
    monkeypatch.setattr(module, "SOURCE", tmp_path / "toy")
    monkeypatch.syspath_prepend(str(tmp_path))
    faults = list(mutants(path))
    assert [m.fault for m in faults] == [
        "operator: x * 2  →  x / 2",
        "constant: 2  →  3",
        "constant: 2  →  0",
    ]
    for name, body, alive in (("sharp", "double(3) == 6", 0), ("blunt", "double(0) == 0", 3)):
        test = tmp_path / f"test_{name}.py"
        test.write_text(f"from toy.code import double\n\n\ndef test_it():\n    assert {body}\n", "utf8")
        assert survives(None, [test], 60)
        assert sum(survives(m, [test], 60) for m in faults) == alive


def test_libraries_are_loaded_as_tests_load_them_and_nothing_of_ours_with_them():
    code = """
import sys
from perf.mutants import load_libraries
load_libraries()
from huggingface_hub.constants import HF_HUB_OFFLINE
from transformers.utils import logging
print(HF_HUB_OFFLINE, logging.is_progress_bar_enabled(), [n for n in sys.modules if n.startswith("rankone")])
"""
    quiet = ("HF_", "TRANSFORMERS_", "TOKENIZERS_")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(quiet)}
    done = subprocess.run(
        [sys.executable, "-c", UNSEARCHED + code], capture_output=True, text=True, check=True, env=bare
    )
    assert done.stdout == "True False []\n"
