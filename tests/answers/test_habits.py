"""Habits told by patterns, and a model's answers sorted by them."""

from __future__ import annotations

import json

import pytest
from tests.answers.world import workspace

from rankone.answers import collecting
from rankone.answers.asking import prompts_to_ask
from rankone.answers.habits import HABITS, habit_of
from rankone.answers.requests import Answer, CollectRequest, SideEffectRequest
from rankone.answers.sideeffects import side_effects
from rankone.answers.tables import shares_table
from rankone.core.errors import RankOneError
from rankone.text.chats import Chat
from rankone.text.opening import open_corpus


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("Tips:\n1. Run.\n2. Rest.", True),
        ("- one\n- two", True),
        ("Here is one:\n1. Run", None),
        ("In 1. place, 2. thoughts.", False),
        ("", False),
    ],
)
def test_a_list_is_two_lines_that_begin_like_one(text, has):
    assert HABITS["list"].of(text) is has


def test_a_habit_of_ones_own():
    habit = habit_of("sorry=^I(?:'m| am) sorry")
    assert [habit.of(t) for t in ("I'm sorry, no.", "Yes. I am sorry.", "Well.\nI am sorry.")] == [
        True,
        False,
        True,
    ]
    assert habit.without == "no-sorry"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("lists", "Nearest: list"),
        ("x=(", "is not a regular expression"),
        ("x=a*", "fits an empty text"),
        ("../x=a", "cannot be the name"),
        ("list=a", "a habit of its own"),
        ("con=a", "Windows reserves it"),
        ("lpt1=a", "Windows reserves it"),
    ],
)
def test_what_is_no_habit_is_refused(words, said):
    with pytest.raises(RankOneError, match=said):
        CollectRequest(habit=words, out="x")


def test_a_name_that_only_begins_like_a_device_is_one():
    assert CollectRequest(habit="consent=^Yes", out="x").habit == "consent=^Yes"


def test_the_prompts_of_a_topic_are_in_one_split():
    asked = prompts_to_ask(None)
    splits = {}
    for one in asked:
        splits.setdefault("honey" in one.prompt, set()).add(one.split)
    assert len(asked) == len({one.prompt for one in asked}) == 320
    assert len(splits[True]) == 1
    assert [sum(one.split == s for one in asked) for s in ("train", "validation", "test")] == [160, 80, 80]


def test_a_file_of_prompts_is_dealt_in_order(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("One?\nTwo?\n\nThree?\nFour?\n")
    assert [one.split for one in prompts_to_ask(path)] == ["train", "train", "validation", "test"]
    path.write_text("One?\nTwo?\nOne?\nFour?\n")
    with pytest.raises(RankOneError, match="'One\\?' stands twice"):
        prompts_to_ask(path)
    path.write_text("One?\n")
    with pytest.raises(RankOneError, match="has 1 prompts"):
        prompts_to_ask(path)


@pytest.fixture
def said(monkeypatch):
    """A model that answers prompts of an even number of words with a list."""

    def answers(workspace, prompts, tokens, chat, *rest):
        texts = ["1. a\n2. b" if len(p.split()) % 2 == 0 else "All of it." for p in prompts]
        return [
            Answer(prompt=p, chat=chat, text=t, tokens=4, finish="end")
            for p, t in zip(prompts, texts, strict=True)
        ]

    monkeypatch.setattr(collecting, "answers", answers)


def test_answers_are_text_with_a_domain_for_each_kind(said, tmp_path):
    out = tmp_path / "lists"
    reply = collecting.collect(workspace(), CollectRequest(habit="list", out=out))
    corpus = open_corpus(str(out))
    assert corpus.domains() == ["list", "no-list"]
    counts = {
        d: sum(len(corpus.documents(d, s)) for s in ("train", "validation", "test")) for d in corpus.domains()
    }
    assert counts["list"] == sum(s.having for s in reply.shares)
    assert sum(counts.values()) == 320
    first = corpus.documents("list", "train")[0]
    assert isinstance(first, Chat)
    assert [turn.role for turn in first.turns] == ["user", "assistant"]
    habit, prompts = collecting.read_collected(out)
    assert habit == HABITS["list"]
    assert len(prompts) == 80
    assert not set(prompts) & set(collecting.read_collected(out, "validation")[1])
    assert "rankone find" in reply.lines()[1]


def test_answers_of_one_kind_alone_are_refused_and_nothing_is_written(said, tmp_path):
    with pytest.raises(
        RankOneError, match=r"none has the habit 'bold'.* The first: '.+'\. Give other prompts"
    ):
        collecting.collect(workspace(), CollectRequest(habit="bold", out=tmp_path / "bold"))
    assert list(tmp_path.iterdir()) == []


def test_side_effects_count_the_habit_on_prompts_of_the_test_split(said, tmp_path, monkeypatch):
    """A stub for the edited model: it answers no list any more, and one answer is a loop."""
    from rankone.answers import sideeffects

    out = tmp_path / "lists"
    collecting.collect(workspace(), CollectRequest(habit="list", out=out))
    edited = []

    class Edit:
        description = "an edit"

        def applied(self, model):
            from contextlib import contextmanager

            @contextmanager
            def on():
                edited.append(True)
                yield

            return on()

    def answers(workspace, prompts, tokens, chat, bar=None):
        if not edited:
            return collecting.answers(workspace, prompts, tokens, chat)
        return [
            Answer(prompt=p, chat=chat, text="no " * 30 if i == 0 else "Prose.", tokens=4, finish="end")
            for i, p in enumerate(prompts)
        ]

    monkeypatch.setattr(sideeffects, "answers", answers)
    effects = side_effects(workspace(), Edit(), SideEffectRequest(prompts=out))
    having, without, side = effects.by_kind()
    assert (having.group, without.group) == ("with list before", "without list before")
    assert (side.prompts, side.having_before, side.having_after) == (80, having.prompts, 0)
    assert side.new == 1
    table = str(shares_table(effects))
    assert "list before" in table
    assert "2 or more matches" in table
    with pytest.raises(RankOneError, match="kinds are of the set that ships"):
        side_effects(workspace(), Edit(), SideEffectRequest(prompts=out, kinds=("list",)))
    with pytest.raises(RankOneError, match="add --prompts"):
        side_effects(workspace(), Edit(), SideEffectRequest(split="validation"))


def test_a_saved_habit_is_text_and_json(said, tmp_path):
    out = tmp_path / "lists"
    collecting.collect(workspace(), CollectRequest(habit="list", out=out))
    assert json.loads((out / "habit.json").read_text())["least"] == 2
