"""The kills cover every command: whoever adds a verb that writes gives it a row (world.py)."""

from __future__ import annotations

import pytest
from tests.soundness.kills.world import COMMANDS, GO_ON, IN_PLACE, NOT_KILLED, SEVERAL, words_of

from rankone.verbs.table import VERBS


def rows_of(verb):
    return [words_of(row, "somewhere") for row in COMMANDS if words_of(row, "somewhere")[0] == verb]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_writes_has_a_row_for_each_of_its_outputs(verb):
    rows = rows_of(verb)
    assert bool(rows) != (verb in NOT_KILLED)
    for field in VERBS[verb].writes:
        option = f"--{field.replace('_', '-')}"
        assert any(option in row and "somewhere" in row[row.index(option) + 1] for row in rows), option


def test_rows_are_of_verbs_and_name_what_they_make():
    assert {*GO_ON, *IN_PLACE, *SEVERAL} <= COMMANDS.keys()
    for row in COMMANDS:
        words = words_of(row, "somewhere")
        assert words[0] in VERBS
        assert any("somewhere" in word for word in words), row
    assert NOT_KILLED.keys() <= VERBS.keys()
