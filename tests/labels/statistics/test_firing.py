"""The counted score: corrections against brute force, and rules that it must and cannot read."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from tests.labels import pages
from tests.labels.pages import IDS, WORDS, domain, example, page, ruled, token

from rankone.labels.samples import split_examples
from rankone.labels.statistics.background import Background, alike
from rankone.labels.statistics.firing import FEWEST, FiringPredictor, detection


def ordinary(count=600, seed=1):
    """Windows of both languages, centred anywhere."""
    random_ = random.Random(seed)
    found = []
    for _ in range(count):
        d = random_.choice(list(WORDS))
        tokens = [random_.choice(WORDS[d]) for _ in range(5)]
        found.append(example(d, tokens, 2, ids=[IDS[t] for t in tokens]))
    return found


def scored(rule, background=None):
    made = ruled("h.0.a:1", rule)
    _, kept = split_examples(made)
    return detection(FiringPredictor.of_page(made, kept), made, kept, background or ordinary())


def test_rules_of_tokens_and_domains_are_read():
    for rule in (
        lambda d, t: t in (" der", " die"),
        lambda d, t: d == "de",
        lambda d, t: t == "ing",
    ):
        found = scored(rule)
        assert found.auc > 0.97
        assert found.balanced_accuracy > 0.95


def test_firing_that_depends_on_neither_is_at_chance():
    random_ = random.Random(3)
    found = scored(lambda d, t: random_.random() < 0.1)
    assert found.auc == pytest.approx(0.5, abs=0.08)
    assert found.balanced_accuracy == pytest.approx(0.5, abs=0.08)


def test_firing_background_is_corrected_for():
    """Against a background without firings the figures must be the same as against the mixed one."""

    def rule(d, t):
        return d == "de" and t != " Haus"

    mixed = scored(rule)
    clean = [e for e in ordinary() if not rule(e.domain, e.tokens[e.centre])]
    made = ruled("h.0.a:1", rule)
    _, kept = split_examples(made)
    silent = replace(made, domains=[replace(d, density=0.0) for d in made.domains])
    want = detection(FiringPredictor.of_page(made, kept), silent, kept, clean)
    assert mixed.auc == pytest.approx(want.auc, abs=0.05)
    assert mixed.balanced_accuracy == pytest.approx(want.balanced_accuracy, abs=0.05)


def test_held_out_firings_are_taken_out_of_the_counts():
    """A token that only held-out examples fire on tells the predictor nothing."""
    kept = [example("de", ["x", "y"], 1, ids=[1, 2])] * 20
    made = page(domains=[domain("de", 1000, 40)], inputs=[token("y", 20, 20, 40, 1000, 2)], examples=kept)
    told, blind = FiringPredictor.of_page(made), FiringPredictor.of_page(made, kept)
    assert told.score(kept[0]) > 1
    assert blind.score(kept[0]) < 0


def test_too_little_to_compare_gives_no_score():
    made = ruled("h.0.a:1", lambda d, t: t == " der", kept=FEWEST - 1)
    assert detection(FiringPredictor.of_page(made), made, made.examples, ordinary()) is None
    assert scored(lambda d, t: t == " der", ordinary(FEWEST - 1)) is None
    assert scored(lambda d, t: t != " der") is None


def test_background_weighs_windows_by_the_firings_they_stand_for():
    """Two subcomponents with as many examples, one with nine times the firings: nine tenths of the sample."""
    window = [" a", " b", " c"]
    often = pages.page("often", 100_000, 9000, [], examples=[example("de", window, 1)] * 20)
    seldom = pages.page("seldom", 100_000, 1000, [], examples=[example("en", window, 1)] * 20)
    counts, centres = 0, set()
    for seed in range(400):
        background = Background(size=1, seed=seed)
        background.add(often)
        background.add(seldom)
        (drawn,) = background.others("none")
        counts += drawn.domain == "de"
        centres.add(drawn.centre)
    assert counts / 400 == pytest.approx(0.9, abs=0.05)
    assert centres == {0, 2}
    assert {e.domain for e in background.others("often")} <= {"en"}


def test_neighbours_are_those_of_like_density():
    firings = {"a": 100, "b": 110, "c": 5000, "d": 90, "dead": 0}
    assert alike(firings, "a", 2) == ["b", "d"]
    assert alike(firings, "a", 9) == ["b", "d", "c"]
