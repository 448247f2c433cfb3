"""Labels corrected by hand: beside the harvest, the last one counts, nothing is overwritten."""

from __future__ import annotations

import json

import pytest

from rankone.studio.kept.corrections import Corrections
from rankone.studio.kept.lines import Conflict

PART = "h.3.mlp.down_proj:270"


def test_the_last_one_counts_and_is_there_when_read_again(tmp_path):
    corrections = Corrections.of(tmp_path / "harvest", tmp_path / "studio")
    corrections.add(PART, "German articles", "German", 0)
    corrections.add(PART, "German  verbs", "German", 1)
    again = Corrections.of(tmp_path / "harvest", tmp_path / "studio").state()
    assert again == corrections.state()
    (correction,) = again.parts.values()
    assert (again.last, correction.label, correction.instead) == (2, "German verbs", "German")
    assert correction.author
    lines = (tmp_path / "harvest.labels.jsonl").read_text().splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["German articles", "German verbs"]


def test_one_is_taken_back_by_an_empty_one(tmp_path):
    corrections = Corrections.of(None, tmp_path / "studio")
    corrections.add(PART, "x", "German", 0)
    corrections.add(PART, "", "German", 1)
    assert corrections.state().plain() == {"last": 2, "parts": {}}
    assert (tmp_path / "studio" / "labels.jsonl").exists()


def test_two_pages_do_not_write_past_each_other(tmp_path):
    corrections = Corrections.of(None, tmp_path / "studio")
    corrections.add(PART, "x", "", 0)
    with pytest.raises(Conflict, match="corrections of labels"):
        corrections.add(PART, "y", "", 0)
    assert corrections.state().parts[PART].label == "x"


def test_foreign_text_is_inert_and_bounded(tmp_path):
    corrections = Corrections.of(None, tmp_path / "studio")
    corrections.add(PART, "\u202egnp.exe\0" + "x" * 1000, "", 0)
    label = corrections.state().parts[PART].label
    assert label.startswith("\\u{202e}gnp.exe")
    assert len(label) == 200
