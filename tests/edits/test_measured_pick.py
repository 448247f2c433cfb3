"""The measured pick: every candidate at the largest removal that the tolerance allows, best first."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from tests.decomposition.tiny import decomposed
from tests.helpers import workspace
from tests.tiny import tiny_model

from rankone.edits.fitting.aim import Aim
from rankone.edits.ranking import measured as room
from rankone.edits.ranking.measured import SIZES, measured
from rankone.edits.scales import scale_edit
from rankone.metrics.kl import kl_in_chunks


@pytest.fixture(scope="module")
def world(tokenizer, corpus):
    model = tiny_model(len(tokenizer))
    space = workspace(model, decomposed(model, "random"), tokenizer, corpus)
    return space, space.blocks("de", "validation", 40), space.text(["en", "code"], "train", 60)


def picked(world, tolerance):
    space, forget, retain = world
    aim = Aim(forget="de", retain=("en", "code"), chance=space.chance, tolerance=tolerance)
    names = [space.parts.names()[i] for i in (1, 40, 90)]
    return names, measured(space.model, space.parts, names, forget, retain, aim)


def by_hand(world, name, size):
    """Largest mean KL of a retained domain with the part at α = 1 − size, one edited forward each."""
    space, _, retain = world
    worst = 0.0
    for blocks in retain.values():
        with torch.no_grad():
            base = space.model(blocks.ids).logits
            with scale_edit(space.parts, {name: 1 - size}).applied(space.model):
                edited = space.model(blocks.ids).logits
        worst = max(worst, float(kl_in_chunks(base, edited)[blocks.present.flatten()].mean()))
    return worst


def test_nothing_is_allowed_without_tolerance(world):
    names, tried = picked(world, 1e-12)
    assert {t.name for t in tried} == set(names)
    assert [(t.alpha, t.worst) for t in tried] == [(1.0, 0.0)] * 3


def test_each_stands_at_an_allowed_size_and_the_best_is_first(world):
    tolerance = by_hand(world, world[0].parts.names()[40], SIZES[2]) * 1.001
    names, tried = picked(world, tolerance)
    for t in tried:
        assert t.worst <= tolerance
        if t.alpha < 1:
            assert t.worst == pytest.approx(by_hand(world, t.name, 1 - t.alpha), rel=1e-3)
    assert [t.removal for t in tried] == sorted((t.removal for t in tried), reverse=True)
    assert next(t for t in tried if t.name == names[1]).alpha in (1.0, *(1 - s for s in SIZES[:3]))


# By part: what the forget text costs unedited and at each size, and the KL of one retained domain at each.
BY_HAND = {
    "a": ((1.0, 2.0, 3.0, 4.0, 9.0, 9.0), (0.005, 0.0075, 0.015, 0.0151, 0.5)),
    "b": ((1.0, 3.5, 3.5, 3.5, 3.5, 3.5), (0.02, 0.02, 0.02, 0.02, 0.02)),
    "c": ((1.0, 8.5, 9.5, 9.0, 9.0, 9.0), (0.01, 0.012, 0.5, 0.5, 0.5)),
}


def test_the_largest_removal_that_is_tolerated_counts_as_far_as_it_is_wanted(monkeypatch):
    """Of a the third size, at its tolerance to the digit; of b none; of c the first, since more is not wanted."""

    class Bar:
        steps = 0

        def advance(self, steps):
            self.steps += steps

    monkeypatch.setattr(room, "scale_edit", lambda _, scales: next(iter(scales)))
    monkeypatch.setattr(room, "damages", lambda _, name, sizes, retain: torch.tensor([BY_HAND[name][1]]))
    monkeypatch.setattr(
        room, "removals", lambda _, name, *given: [SimpleNamespace(mean=m) for m in BY_HAND[name][0]]
    )
    aim, bar = Aim(forget="de", retain=("en",), chance=8.0, tolerance=float(torch.tensor(0.015))), Bar()
    tried = measured(None, None, ["a", "b", "c"], None, {"en": None}, aim, bar)
    assert [(t.name, t.alpha, t.removal) for t in tried] == [
        ("c", 1 - SIZES[0], 8.5),
        ("a", 1 - SIZES[2], 4.0),
        ("b", 1.0, 1.0),
    ]
    assert [t.worst for t in tried] == pytest.approx([0.01, 0.015, 0.0])
    assert bar.steps == 3


def test_sizes_are_a_scan_that_never_doubles_at_once():
    assert all(a < b <= 2 * a for a, b in pairwise(SIZES))
