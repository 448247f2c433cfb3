"""Artefacts of every release keep loading, and mean what they meant."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.golden.reading import read_all

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "artifacts.md"
RELEASES = sorted(p.parent for p in HERE.glob("*/expected.json"))
LARGEST = 270_000


def test_there_are_some():
    assert RELEASES


@pytest.mark.parametrize("folder", RELEASES, ids=lambda p: p.name)
def test_artefacts_say_what_they_said_when_they_were_made(folder):
    expected = json.loads((folder / "expected.json").read_text("utf8"))
    assert json.loads(json.dumps(read_all(folder))) == expected


def test_there_is_one_of_every_kind():
    """The kinds that docs/artifacts.md names; results are what the Hub holds of a folder without a manifest."""
    row = re.search(r"^\| `kind` \| (.*) \|$", DOCUMENT.read_text("utf8"), re.MULTILINE)
    assert row
    manifests = RELEASES[-1].rglob("manifest.json")
    kinds = {json.loads(path.read_text("utf8"))["kind"] for path in manifests}
    assert kinds == set(re.findall(r"`(\S+)`", row[1])) - {"results"}


@pytest.mark.parametrize("folder", RELEASES, ids=lambda p: p.name)
def test_they_are_small(folder):
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < LARGEST
