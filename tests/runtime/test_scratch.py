"""Scratch folders go with their process or are found; those of others, and of running processes, are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from rankone.runtime.scratch import Scratch, scratch, stray_scratch

HOLDER = """
import sys, time
from rankone.runtime.scratch import Scratch
folder = Scratch("test")
print(folder.path, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_scratch_folder_goes_at_the_end_of_its_block(tmp_path):
    with scratch("test") as folder:
        (folder / "a").write_text("x", "utf8")
        assert folder.name.startswith("rankone-test-")
        assert stray_scratch() == []
    assert list(tmp_path.iterdir()) == []
    made = Scratch("test")
    made.close()
    assert not made.path.exists()


def test_what_a_killed_process_left_is_found_and_a_living_ones_is_not(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as process:
        assert process.stdout is not None
        path = process.stdout.readline().strip()
        assert stray_scratch() == []
        process.kill()
        process.wait()
    assert [str(p) for p in stray_scratch()] == [path]


def test_a_process_killed_before_it_had_its_lock_left_an_empty_folder(tmp_path):
    made = Scratch("test")
    folder = made.path
    made.close()
    folder.mkdir()
    assert stray_scratch() == []  # a process may be about to put its lock there
    os.utime(folder, (0, 0))
    assert stray_scratch() == [folder]
    (folder / "notes.md").write_text("mine", "utf8")
    os.utime(folder, (0, 0))
    assert stray_scratch() == []


def test_folders_of_others_are_not_taken_for_ours(tmp_path):
    for name in (
        "rankone-mine",
        "rankone-notes-20260101",
        "rankone-notes-2026010120260102",
        "other-test-abcdefgh",
    ):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "other-test-abcdefgh" / ".rankone-scratch").touch()
    (tmp_path / "rankone-mine" / ".rankone-scratch").touch()
    made = Scratch("link")
    made.close()
    made.path.symlink_to(tmp_path / "other-test-abcdefgh")
    assert stray_scratch() == []
