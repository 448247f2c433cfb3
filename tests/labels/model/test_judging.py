"""Judged scores with judges that know, do not know, and err in known ways."""

from __future__ import annotations

import random

import pytest
from tests.labels.pages import FakeHarvest, ruled

from rankone.labels.model.judging import (
    DETECTION,
    FUZZING,
    INTRUDER,
    TRIALS,
    Judgement,
    Trial,
    trials,
)
from rankone.labels.samples import split_examples
from rankone.labels.statistics.background import Background

HARVEST = FakeHarvest(
    [
        ruled("h.0.a:1", lambda d, t: t == " der", seed=1),
        ruled("h.0.a:2", lambda d, t: t == "ing", seed=2),
        ruled("h.0.a:3", lambda d, t: t == " nice", seed=3),
    ]
)


@pytest.fixture(scope="module")
def found():
    background = Background()
    for name in HARVEST.names():
        background.add(HARVEST.page(name))
    return trials(
        HARVEST.page("h.0.a:1"), "the token der", background, ["h.0.a:2", "h.0.a:3"], HARVEST.page, 0.1
    )


def by_score(found, reply):
    values = {}
    for trial in found:
        values.setdefault(trial.score, []).append(trial.value(reply(trial)))
    return {score: sum(v) / len(v) for score, v in values.items()}


def marked(trial):
    """Numbers of the windows that have `der` marked in them, read from the prompt as a judge would."""
    lines = trial.question.user.split("\n")
    return {int(line.split(".")[0]) for line in lines if line[:1].isdigit() and "<<der>>" in line}


def test_all_trials_are_made_and_are_the_same_again(found):
    counts = {score: sum(t.score == score for t in found) for score in TRIALS}
    assert counts == TRIALS
    assert {(t.score, t.windows, len(t.truth)) for t in found} == {
        (INTRUDER, 5, 1),
        (DETECTION, 10, 5),
        (FUZZING, 7, 5),
    }
    background = Background()
    for name in HARVEST.names():
        background.add(HARVEST.page(name))
    assert (
        trials(
            HARVEST.page("h.0.a:1"), "the token der", background, ["h.0.a:2", "h.0.a:3"], HARVEST.page, 0.1
        )
        == found
    )


def test_a_judge_that_knows_is_right(found):
    def reply(trial):
        seen = marked(trial)
        everything = set(range(1, trial.windows + 1))
        return Judgement(numbers=sorted(everything - seen if trial.score == INTRUDER else seen))

    values = by_score(found, reply)
    assert values[INTRUDER] == 1.0
    assert values[FUZZING] == 1.0
    assert values[DETECTION] > 0.85  # ordinary text has a `der` here and there


def test_a_judge_that_guesses_is_at_chance(found):
    random_ = random.Random(0)

    def reply(trial):
        if trial.score == INTRUDER:
            return Judgement(numbers=[random_.randint(1, trial.windows)])
        return Judgement(numbers=[n for n in range(1, trial.windows + 1) if random_.random() < 0.5])

    values = [by_score(found, reply) for _ in range(200)]
    for score, chance in {INTRUDER: 0.2, DETECTION: 0.5, FUZZING: 0.5}.items():
        assert sum(v[score] for v in values) / 200 == pytest.approx(chance, abs=0.05)


@pytest.mark.parametrize(
    ("numbers", "value"),
    [([1, 2], 1.0), ([], 0.5), ([1, 2, 3, 4, 5], 0.5), ([1, 3, 99, -4], (0.5 + 2 / 3) / 2)],
)
def test_balanced_accuracy_by_hand(numbers, value):
    trial = Trial("c", DETECTION, None, frozenset({1, 2}), 5)
    assert trial.value(Judgement(numbers=numbers)) == pytest.approx(value)


def test_naming_all_windows_finds_no_intruder():
    trial = Trial("c", INTRUDER, None, frozenset({3}), 5)
    assert trial.value(Judgement(numbers=[3])) == 1.0
    assert trial.value(Judgement(numbers=[1, 2, 3, 4, 5])) == 0.0


def test_only_held_out_windows_are_shown(found):
    page = HARVEST.page("h.0.a:1")
    shown, kept = split_examples(page)
    assert len(shown) == 30
    assert len(shown) + len(kept) == len(page.examples)
    quoted = "".join(t.question.user for t in found).replace("<<", "").replace(">>", "")
    only_shown = {"".join(e.tokens) for e in shown} - {"".join(e.tokens) for e in kept}
    assert not [text for text in only_shown if text.strip() in quoted]


def test_too_few_examples_make_no_trials():
    few = ruled("h.0.a:9", lambda d, t: t == " der", kept=4)
    background = Background()
    background.add(few)
    assert trials(few, "x", background, ["x"], lambda _: few, 0.1) == []
