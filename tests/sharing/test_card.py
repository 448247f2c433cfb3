"""The card says how to open an artefact, by commands that there are, and nothing foreign in it is markup."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from tests.test_docs import _app, parse_error

from rankone.core.artifact import open_artifact
from rankone.sharing.card import _OPEN, _cell, card

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "0.1-3"


@pytest.mark.parametrize("kind", _OPEN)
def test_commands_of_a_card_are_commands(kind):
    words = shlex.split(_OPEN[kind].format(repo="me/thing"))[1:]
    assert parse_error(_app(), words) is None


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("edit", "| site | weight | rank of the change |"),
        ("harvest", "| domain | tokens |"),
        ("labels", "| part | label | confidence | by |"),
        ("evidence", "## Verdict"),
        ("decomposition-float32", "## Maskings, on held-out text"),
    ],
)
def test_tables_come_from_the_files(kind, said):
    made = card(open_artifact(GOLDEN / kind), "me/thing")
    assert said in made
    assert made.startswith("---\nlibrary_name: rankone\n")


def test_foreign_text_is_no_markup():
    assert _cell("<b>|x|\n</b>") == "&lt;b&gt;\\|x\\|↵&lt;/b&gt;"
    assert (_cell(None), _cell(0.123456)) == ("", "0.1235")
