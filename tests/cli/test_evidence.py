"""Evidence from the command line."""

from __future__ import annotations

import json

from tests.cli.commands import shown
from tests.tiny import rankone


def test_evidence_is_measured_and_written(pair, tmp_path):
    out = tmp_path / "evidence.json"
    said = shown(rankone("evidence", pair[1], "--model", pair[0], "--steps", 2, "--out", out))
    found = json.loads(out.read_text("utf8"))
    assert found["adversary"]["ladder"] == [2]
    assert found["text"]["split"] == "test"
    assert [r["steps"] for r in found["rows"] if r["masking"] == "adversarial"] == [2] * 2
    assert "adversarial, 2 PGD steps" in said
    assert "Per layer" in said
