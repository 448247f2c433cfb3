"""Every causal class of transformers, as a tiny random model: right, or refused by name (classes.jsonl)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.soundness.every_class import CLASSES
from tests.soundness.verdicts import Reader, judged

TABLE = Path(__file__).with_name("classes.jsonl")
ROWS = [json.loads(line) for line in TABLE.read_text("utf8").splitlines()] if TABLE.exists() else []
KNOWN = {row[0]: (row[2], row[3]) for row in ROWS}


@pytest.fixture(scope="module")
def reader():
    with Reader() as process:
        yield process


@pytest.mark.slow
@pytest.mark.parametrize("model_type", CLASSES)
def test_each_class_is_right_or_refused(model_type, reader, tmp_path):
    found = judged(model_type, tmp_path, reader)
    assert found.kind != "wrong", found.reason
    if model_type in KNOWN:
        assert found.kind == KNOWN[model_type][0], found.reason


def test_nothing_that_was_seen_is_wrong():
    assert KNOWN.keys() >= CLASSES.keys(), "run tests.soundness.verdicts for the classes that are new"
    assert [row[0] for row in ROWS if row[2] == "wrong"] == []
