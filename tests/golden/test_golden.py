"""Artefacts of every release keep loading, and mean what they meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.golden.reading import read_all

HERE = Path(__file__).parent
RELEASES = sorted(p.parent for p in HERE.glob("*/expected.json"))
LARGEST = 260_000


def test_there_are_some():
    assert RELEASES


@pytest.mark.parametrize("folder", RELEASES, ids=lambda p: p.name)
def test_artefacts_say_what_they_said_when_they_were_made(folder):
    expected = json.loads((folder / "expected.json").read_text("utf8"))
    assert json.loads(json.dumps(read_all(folder))) == expected


@pytest.mark.parametrize("folder", RELEASES, ids=lambda p: p.name)
def test_they_are_small(folder):
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < LARGEST
