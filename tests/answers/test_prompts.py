"""The side-effect set is well formed, and what belongs to a target is told apart."""

from __future__ import annotations

from collections import Counter

import pytest

from rankone.answers.prompts import KINDS, prompts, prompts_for, require_target
from rankone.core.errors import RankOneError
from rankone.text.domains import NAMES


def test_every_prompt_is_whole_and_its_own():
    found = prompts()
    assert len(found) >= 100
    for field in ("name", "chat", "plain"):
        values = [getattr(p, field) for p in found]
        assert len(set(values)) == len(values), field
        assert all(v.strip() and v == v.lstrip() for v in values)
    assert all(p.plain == p.plain.rstrip(" ") for p in found), "a space at the end is a token of its own"
    assert all(p.chat != p.plain for p in found)


def test_tags_are_known():
    for prompt in prompts():
        assert {prompt.language, prompt.about, *prompt.uses} - {None} <= NAMES.keys()
        assert (prompt.language is None) == (prompt.kind == "code")
        assert (prompt.about is not None) == (prompt.kind == "about")
        assert bool(prompt.uses) == (prompt.kind == "switching")


def test_every_kind_has_prompts():
    counts = Counter(p.kind for p in prompts())
    assert set(counts) == set(KINDS)
    assert min(counts.values()) >= 8
    assert Counter(p.about for p in prompts() if p.about) == dict.fromkeys(("fr", "de", "es", "it"), 6)


def test_a_target_has_its_own_country_and_is_told_apart():
    chosen = prompts_for("fr")
    assert {p.about for p in chosen} == {None, "fr"}
    asked = [p.name for p in chosen if p.asks_for("fr")]
    assert [name.rpartition("-")[0] for name in asked] == ["language-fr"] * 4 + ["switching-fr"] * 2
    assert not any(p.asks_for(None) for p in chosen)
    assert 60 <= len(chosen) - len(asked) <= 100
    assert (
        {p.about for p in prompts_for("code")}
        == {p.about for p in prompts_for(None)}
        == {None, "fr", "de", "es", "it"}
    )


def test_kinds_are_chosen_by_name():
    assert {p.kind for p in prompts_for("de", ["list", "fact"])} == {"list", "fact"}
    with pytest.raises(RankOneError, match=r"no prompts of kind 'lists'.*Nearest: list"):
        prompts_for("de", ["lists"])


def test_a_language_that_no_prompt_asks_for_is_not_offered():
    with pytest.raises(
        RankOneError, match=r"no prompt asks for 'zz'; they ask for .*sv\. Leave the target out"
    ):
        require_target("zz")
    with pytest.raises(RankOneError, match=r"'pirate'; they ask for .*sv\. Leave the target out"):
        require_target("pirate")
