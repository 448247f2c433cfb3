"""The card says how to open an artefact, by commands that there are, and nothing foreign in it is markup."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from tests.test_docs import _app, parse_error

from rankone.core.artifact import open_artifact
from rankone.sharing.card import _OPEN, _cell, card, shelf_card

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "0.1-3"


@pytest.mark.parametrize("kind", _OPEN)
def test_commands_of_a_card_are_commands(kind):
    words = shlex.split(_OPEN[kind].format(name="me/thing"))[1:]
    assert parse_error(_app(), words) is None


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("edit", "| site | weight | rank of the change |"),
        ("harvest", "| domain | tokens |"),
        ("labels", "| part | label | confidence | by |"),
        ("parts", "| singular | h.0.mlp.c_fc | count 2, seed 0, contrast 0.5, ridge 0.01 |"),
        ("graph", "| the | &quot; cat&quot; | 0.001365 |"),
        ("graph", "| identity_worst |"),
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


def test_a_shelf_lists_its_folders():
    made = shelf_card("https://huggingface.co/me/run", {"labels": "labels", "harvest": "harvest"})
    assert "tags: [rankone, harvest, labels]" in made
    assert "| [labels](labels/README.md) | labels | Labels of the parts of a harvest. |" in made
    assert "rankone doctor https://huggingface.co/me/run/tree/main/harvest" in made
