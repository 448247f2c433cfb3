"""Side effects on a terminal and on a page: figures as measured, hostile answers inert."""

from __future__ import annotations

import pytest
from tests.answers.test_sideeffects import FINE, LOOP, effect

from rankone.answers.page import side_effects_page
from rankone.answers.sideeffects import SideEffects
from rankone.answers.tables import answers_table, shares_table

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e " + FINE


@pytest.fixture
def found():
    effects = (
        effect(FINE, LOOP, "list-1"),
        effect(FINE, FINE, "list-2"),
        effect(FINE, HOSTILE, "language-fr-1", target=True),
    )
    return SideEffects(target="fr", chat=True, tokens=48, edit="contrast × -6.35", effects=effects)


def test_shares(found):
    table = shares_table(found)
    assert table.title == "Answers before and after the edit contrast × -6.35"
    assert [(r["prompts"], r["asked"], r["after"], r["new"]) for r in table.records()] == [
        ("list", 2, 1, 0.5),
        ("all side effects", 2, 1, 0.5),
        ("asks for fr", 1, 0, 0.0),
    ]
    assert table.strong == {1}
    assert "in the chat template" in table.caption


def test_answers_that_went_wrong(found):
    (row,) = answers_table(found).records()
    assert (row["prompt"], row["fault"]) == ("list-1", "loop")
    everything = answers_table(found, only_new=False)
    assert len(everything) == 3
    assert not any("\x1b" in str(v) or "\u202e" in str(v) for row in everything.rows for v in row)


def test_a_page_is_inert_and_shows_what_went_wrong(found):
    page = side_effects_page(found)
    assert "1 of 2 answers that ask for something else became degenerate (50.0%, above the bar of 5%)" in page
    assert page.index("shares-table") < page.index('class="pair"')
    assert page.count('class="pair"') == 2
    assert "list-1: loop" in page
    assert "language-fr-1: sound" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    sound = side_effects_page(found.model_copy(update={"effects": found.effects[1:2]}))
    assert "None." in sound
    assert 'id="asked"' not in sound
