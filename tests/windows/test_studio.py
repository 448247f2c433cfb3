"""What the studio writes, and its worker's exports, keep Windows' rules of files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.studio.serving import studio
from tests.windows.rules import below

PART = "h.3.mlp.down_proj:270"
# Run by every Python that is started, the server's and the worker's.
AT_START = """
from pathlib import Path

from tests.windows.rules import Rules

Rules(Path({folder!r}), Path({log!r})).keep(without=())  # transformers needs some on Unix
"""


@pytest.mark.slow
def test_edits_corrections_and_exports_of_a_studio(tmp_path, monkeypatch):
    start, log, folder = tmp_path / "start", tmp_path / "refused.txt", tmp_path / "workspace"
    start.mkdir()
    folder.mkdir()
    (start / "sitecustomize.py").write_text(AT_START.format(folder=str(folder), log=str(log)), "utf8")
    home = Path(__file__).resolve().parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{start}:{home}:{home / 'src'}")
    with studio(folder) as served:
        served.json("/api/edits", {"scales": {PART: -8}, "name": "less German", "after": 0})
        for form in ("edit", "adapter", "checkpoint"):
            served.json("/api/exports", {"entry": 1, "as": form})
            while (job := served.json("/api/exports")["jobs"][0])["state"] == "running":
                time.sleep(0.2)
            assert job["state"] == "done", str(job)
    assert not log.exists(), log.read_text("utf8")
    assert list(below(folder)) == []
    assert len(list(folder.rglob("manifest.json"))) == 3
