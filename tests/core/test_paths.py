"""Commands that replies offer can be typed as they stand, whatever their folders are called."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from rankone.answers.habits import habit_of
from rankone.answers.requests import CollectReply
from rankone.core.errors import RankOneError
from rankone.core.manifest import read_manifest
from rankone.core.paths import typed
from rankone.edits.requests import SharpenReply
from rankone.verbs.harvesting import HarvestReply
from rankone.verbs.making.decomposing import DecomposeReply

PLACE, RUN = Path("my runs/ümlaut"), Path("my runs/run")
OFFERS = {
    "sharpen": SharpenReply(of="de", against=("en",), parts=(), out=PLACE),
    "harvest": HarvestReply(out=PLACE, run=RUN, shard="0/2"),
    "decompose": DecomposeReply(out=PLACE, run=RUN, state="finished"),
    "collect": CollectReply(out=PLACE, habit=habit_of("list"), shares=()),
}


def test_a_plain_path_stands_as_it_is_and_others_in_quotes():
    assert typed(Path("runs/a-b_c.d")) == "runs/a-b_c.d"
    assert shlex.split(f"rankone evidence {typed(PLACE)}") == ["rankone", "evidence", str(PLACE)]


@pytest.mark.parametrize("name", OFFERS)
def test_an_offered_command_keeps_a_path_with_blanks_in_one_word(name):
    *_, offer = OFFERS[name].lines()
    words = shlex.split(offer)
    assert str(PLACE) in words
    assert name != "harvest" or str(RUN) in words


def test_a_command_in_an_error_does_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RankOneError, match=r"`rankone edit 'a b=2' --out DIR`"):
        read_manifest(Path("a b=2"), "edit")
