"""On a terminal the line of an error ends with its code; a script gets the words alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pty = pytest.importorskip("pty")
ASKED = [sys.executable, "-P", "-m", "rankone", "rank", "mni", "--of", "de"]
OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1"}


def test_the_code_stands_at_the_end_of_the_one_line(tmp_path):
    leader, follower = pty.openpty()
    done = subprocess.run(
        ASKED, cwd=tmp_path, env=OFFLINE, stdout=subprocess.DEVNULL, stderr=follower, check=False
    )
    os.close(follower)
    said = os.read(leader, 10_000).decode()
    os.close(leader)
    assert done.returncode == 2
    assert said.count("\n") == 1
    assert said.rstrip().endswith("Nearest: mini. [no-model]")


def test_a_script_gets_the_words(tmp_path):
    done = subprocess.run(ASKED, cwd=tmp_path, env=OFFLINE, capture_output=True, text=True, check=False)
    assert done.stderr.rstrip().endswith("Nearest: mini.")
