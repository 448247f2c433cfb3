"""Side effects before and after an edit: counts by hand, the model as it was, what asks for the target told apart."""

from __future__ import annotations

import pytest
from tests.answers.world import workspace
from tests.helpers import random_edit, same, snapshot

from rankone.answers.degeneration import signs
from rankone.answers.prompts import prompts, prompts_for
from rankone.answers.sideeffects import (
    Effect,
    Judged,
    SideEffectRequest,
    SideEffects,
    share,
    side_effects,
)
from rankone.core.errors import RankOneError

FINE = "The ships float because they are lighter than the water that they push away."
LOOP = "1. **" + "1." * 20


def effect(before, after, name="fact-1", target=False):
    prompt = next(p for p in prompts() if p.name == name)
    replies = [Judged(text=text, tokens=9, signs=signs(text, ["en"])) for text in (before, after)]
    return Effect(prompt=prompt, asked=prompt.chat, target=target, before=replies[0], after=replies[1])


def test_shares_by_hand():
    found = share("x", [effect(FINE, FINE), effect(FINE, LOOP), effect(LOOP, LOOP), effect(LOOP, FINE)])
    assert (found.prompts, found.before, found.after, found.new, found.same) == (4, 2, 2, 1, 2)
    assert found.new_share == 0.25
    assert found.new_interval == pytest.approx((0.0456, 0.6994), abs=1e-4)
    assert share("none", []).new_share == 0


def test_groups_and_the_figure_that_counts():
    made = SideEffects(
        target="fr",
        chat=True,
        tokens=9,
        edit="",
        effects=(
            effect(FINE, LOOP, "list-1"),
            effect(FINE, FINE, "about-fr-1"),
            effect(FINE, FINE, "language-de-1"),
            effect(FINE, LOOP, "language-fr-1", target=True),
        ),
    )
    assert [(s.group, s.prompts, s.new) for s in made.by_kind()] == [
        ("list", 1, 1),
        ("about fr", 1, 0),
        ("language de", 1, 0),
        ("all side effects", 3, 1),
        ("asks for fr", 1, 1),
    ]
    assert made.side.new_share == pytest.approx(1 / 3)
    assert [e.prompt.name for e in made.newly_degenerate()] == ["list-1"]


@pytest.mark.parametrize("chat", [True, False])
def test_an_edit_is_measured_and_taken_off(chat):
    space = workspace(chat)
    before = snapshot(space.model)
    request = SideEffectRequest(target="fr", kinds=("fact", "language"), tokens=4)
    found = side_effects(space, random_edit(space.model, {"*.down_proj": 1}, size=2.0), request)
    chosen = prompts_for("fr", ("fact", "language"))
    assert same(space.model, before)
    assert found.chat is chat
    assert [e.prompt for e in found.effects] == chosen
    assert [e.asked for e in found.effects] == [p.chat if chat else p.plain for p in chosen]
    assert found.side.same < found.side.prompts == len(chosen) - 4
    assert SideEffects.model_validate_json(found.model_dump_json()) == found


def test_no_change_has_no_side_effects():
    space = workspace()
    nothing = random_edit(space.model, {"*.down_proj": 1}).scale(0)
    found = side_effects(space, nothing, SideEffectRequest(kinds=("list",), tokens=4))
    assert found.side.same == found.side.prompts == 10
    assert found.side.new == 0


def test_every_answer_is_a_step_on_the_way(monkeypatch, capsys):
    monkeypatch.setattr("rankone.answers.sideeffects.SHORT", 0)
    space = workspace()
    nothing = random_edit(space.model, {"*.down_proj": 1}).scale(0)
    side_effects(space, nothing, SideEffectRequest(kinds=("list",), tokens=1))
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("answers: 10/20 ")
    assert said[-1].startswith("answers: 20/20 ")


def test_chat_without_a_template_is_named():
    space = workspace(chat=False)
    with pytest.raises(RankOneError, match="no chat template"):
        side_effects(space, random_edit(space.model, {"*.down_proj": 1}), SideEffectRequest(chat=True))


def test_known_answers_of_the_base_are_not_asked_again():
    space = workspace()
    edit = random_edit(space.model, {"*.down_proj": 1}, size=2.0)
    request, known = SideEffectRequest(kinds=("list",), tokens=4), {}
    first = side_effects(space, edit, request, known)
    assert set(known) == {e.asked for e in first.effects}
    assert side_effects(space, edit, request, known) == first
    asked = first.effects[0].asked
    known[asked] = known[asked].model_copy(update={"text": "as it was said before"})
    again = side_effects(space, edit, request, known).effects
    assert [e.before.text for e in again] == [
        "as it was said before",
        *(e.before.text for e in first.effects[1:]),
    ]
