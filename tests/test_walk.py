"""The README's commands in the order they are printed, as a user types them, in one folder and an 80-column terminal.

What needs a corpus of one's own (DIR), trains, fetches or takes minutes is only parsed (test_docs.py).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.test_docs import ROOT, program_arguments, shell_lines

LEFT_OUT = {"fetch", "pretrain", "decompose", "select-rates", "demo", "toys", "evidence", "cluster"}
MADE_BEFORE = {"DIR", "runs/clusters", "runs/mini-without-de/model"}


def typed() -> list[list[str]]:
    """Words of every command of the README that runs on what ships."""
    lines = shell_lines((ROOT / "README.md").read_text("utf8"))
    commands = [words for line in lines for words in program_arguments(line.partition(" #")[0])]
    return [words for words in commands if words[0] not in LEFT_OUT and not MADE_BEFORE & set(words)]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_does_what_it_says(tmp_path: Path):
    commands = typed()
    seen = {words[0] for words in commands}
    assert seen >= {"sites", "rank", "find", "edit", "tune", "generate", "export", "search", "show"}
    environment = {**os.environ, "COLUMNS": "80", "HF_HUB_OFFLINE": "1"}
    for words in commands:
        command = [sys.executable, "-m", "rankone", *words]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
        assert done.returncode == 0, f"rankone {' '.join(words)}\n{done.stderr}"
        assert done.stdout.strip(), words
        assert "Traceback" not in done.stderr
    assert (tmp_path / "page.html").is_file()
    assert (tmp_path / "runs" / "german-lora" / "adapter_config.json").is_file()
