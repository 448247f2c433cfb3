"""rankone doctor: exit status 1 where something is wrong; --clean removes what killed runs left and nothing else."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from tests.tiny import rankone

from rankone.core.claims import staging_folder

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "0.1-2"


@pytest.fixture
def left(tmp_path, monkeypatch):
    """A folder with what a killed export left, beside a finished file."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    (tmp_path / "runs").mkdir()
    staging = staging_folder(tmp_path / "runs" / "out")
    (staging / "half.bin").write_bytes(b"x" * 1000)
    (tmp_path / "runs" / "kept.txt").write_text("mine", "utf8")
    return tmp_path / "runs"


def test_a_sound_artefact_ends_with_0_and_a_missing_one_with_1(tmp_path):
    done = rankone("doctor", GOLDEN / "edit", "--model", GOLDEN / "model")
    assert (done.code, done.err) == (0, "")
    assert done.out.strip().endswith("5 ok, 0 note, 0 wrong")
    gone = rankone("doctor", tmp_path / "gone")
    assert gone.code == 1
    assert "wrong  loads: no model directory at" in gone.out


def test_json_holds_every_finding(tmp_path):
    (tmp_path / "manifest.json").write_text("[]", "utf8")
    done = rankone("doctor", tmp_path, "--json")
    (finding,) = json.loads(done.out)["findings"]
    assert (done.code, finding["check"], finding["status"]) == (1, "manifest", "wrong")


def test_clean_lists_first_and_then_removes(left):
    listed = rankone("doctor", left, "--clean", "--dry-run")
    assert (listed.code, "1 leftover," in listed.out, "Nothing was removed" in listed.out) == (0, True, True)
    assert len(list(left.iterdir())) == 2
    done = rankone("doctor", left, "--clean")
    assert "1 of 1 leftover removed" in done.out
    assert [p.name for p in left.iterdir()] == ["kept.txt"]
    assert "killed runs left nothing" in rankone("doctor", left, "--clean").out


def test_options_without_effect_are_refused():
    assert "--dry-run changes nothing without --clean" in rankone("doctor", "--dry-run").err
    assert rankone("doctor", "--clean", "--model", "mini").code == 2


def test_a_code_that_is_nearly_one_is_offered():
    done = rankone("doctor", "no-causal-modle")
    assert (done.code, "Nearest: no-causal-model" in done.err) == (2, True)
    assert rankone("doctor", "no-causal-model").code == 0
