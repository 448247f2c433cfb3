"""The size of an edit: crossings by hand, KL and removal of a three-token model by hand, the rule on a real forward."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import t as student
from tests.helpers import probe, random_edit, same, simple_mlp, snapshot
from torch import nn

from rankone.edits.fitting import size as module
from rankone.edits.fitting.aim import Aim
from rankone.edits.fitting.size import (
    COARSE,
    LARGEST,
    SMALLEST,
    Held,
    Removal,
    damages,
    find_limit,
    first_crossing,
    removals,
    size_edit,
)
from rankone.edits.lowrank import LowRankEdit
from rankone.text.blocks import Blocks


@pytest.mark.parametrize("crossing", [3e-4, 0.09, 0.25, 0.5, 1.0, 2.3, 8.0, 9.0, 700.0])
def test_a_quadratic_crosses_where_it_must(crossing):
    size, bounded = first_crossing(lambda size: (size / crossing) ** 2)
    assert bounded
    assert crossing / 1.02 <= size <= crossing * (1 + 1e-9)


def test_the_first_crossing_counts():
    """Over the bar between 1 and 5, under it again until 20."""
    found, _ = first_crossing(lambda size: 2.0 * (1 < size < 5 or size > 20))
    assert found == pytest.approx(1.0, rel=0.02)


def test_a_value_that_is_not_finite_is_over_the_bar():
    size, _ = first_crossing(lambda size: math.nan if size > 3 else 0.0)
    assert size == pytest.approx(3.0, rel=0.02)


def test_no_crossing_and_no_room():
    assert first_crossing(lambda _: 0.0) == (16 * LARGEST, False)
    assert first_crossing(lambda _: 2.0) == (0.0, True)


def asked_of(value):
    asked = []
    first_crossing(lambda size: asked.append(size) or value)
    return asked


def test_sizes_go_up_while_all_are_within_the_bar():
    asked = asked_of(0.0)
    assert asked[-1] >= LARGEST
    assert asked[0] == COARSE[0]
    assert [after / before for before, after in pairwise(asked)] == [4.0] * (len(asked) - 1)


def test_nothing_is_asked_beyond_the_first_size_over_the_bar():
    asked = asked_of(2.0)
    # The first of every grid; grids follow each other in steps of 4 as their sizes do.
    assert asked == [COARSE[0] / 4.0 ** (len(COARSE) * n) for n in range(len(asked))]
    assert asked[-1] <= SMALLEST


def test_what_forget_text_said_cannot_be_altered():
    with pytest.raises(FrozenInstanceError):
        Removal(1.0, 0.5).mean = 2.0


class Bigram(nn.Module):
    """Three tokens; the next one's odds after 0 are ½ ¼ ¼, after 1 they are .1 .8 .1, after 2 all equal."""

    config = SimpleNamespace(vocab_size=3)

    def __init__(self):
        super().__init__()
        self.h = nn.ModuleList([nn.Linear(3, 3, bias=False)])
        odds = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [1 / 3, 1 / 3, 1 / 3]])
        self.h[0].weight = nn.Parameter(odds.log().T.contiguous())

    def forward(self, input_ids, use_cache):
        return SimpleNamespace(logits=self.h[0](F.one_hot(input_ids, 3).float()))


# At size s the logit of 0 after a 0 grows by s ln 2: s = 1 gives the odds ⅔ ⅙ ⅙, s = 2 gives .8 .1 .1.
PUSH = LowRankEdit(
    {"h.0": (math.log(2) * torch.tensor([[1.0], [0.0], [0.0]]), torch.tensor([[1.0, 0.0, 0.0]]))}
)
KL_1 = 0.5 * math.log(0.75) + 0.5 * math.log(1.5)
KL_2 = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(2.5)


def hand(ids, valid):
    return Blocks(torch.tensor(ids), torch.tensor(valid, dtype=torch.bool))


def test_damage_by_hand():
    retain = {"en": hand([[0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 1]]), "fr": hand([[1, 2]], [[0, 1]])}
    found = damages(Bigram(), PUSH, [1.0, 2.0], retain)
    # Of 'en', three of the five present positions hold a 0; the padding of the first row does not count.
    expected = torch.tensor([[3 * KL_1 / 5, 3 * KL_2 / 5], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_rise_by_hand():
    retain = {"en": hand([[0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 1]]), "fr": hand([[1, 2]], [[0, 1]])}
    rises = damages(Bigram(), PUSH, [1.0, 2.0], Held(Bigram(), PUSH.sites, retain, "rise"))
    # Scored: a 1 after a 0 twice (odds .25, then 1/6 and .1), a 0 after a 0 once (.5, then 2/3 and .8).
    once = (2 * math.log(1.5) - math.log(4 / 3)) / 3
    twice = (2 * math.log(2.5) - math.log(1.6)) / 3
    expected = torch.tensor([[once, twice], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(rises, expected, rtol=1e-5, atol=1e-6)


def test_an_aim_of_rises_sets_the_size_by_rises():
    retain, base = (
        {"en": hand([[0, 1, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 1]])},
        {"forget": "fr", "retain": ("en",)},
    )
    aim = Aim(**base, chance=math.log(3), tolerance=(2 * math.log(1.5) - math.log(4 / 3)) / 3, measure="rise")
    limit = find_limit(Bigram(), PUSH, retain, aim)
    assert limit.size == pytest.approx(1.0, rel=0.02)
    assert limit.bounded
    assert limit.damage["en"] <= aim.tolerance


def test_removal_by_hand():
    forget = hand([[0, 0, 1]], [[1, 0, 1]])
    (found,) = removals(Bigram(), PUSH, [1.0], forget)
    after_0 = 0.5 * math.log(1.5) + 0.5 * math.log(6)
    after_1 = -(0.2 * math.log(0.1) + 0.8 * math.log(0.8))
    assert found.mean == pytest.approx((after_0 + after_1) / 2, rel=1e-6)
    error = abs(after_0 - after_1) / math.sqrt(2) / math.sqrt(2)
    assert found.lower == pytest.approx(found.mean - student.ppf(0.9, 1) * error, rel=1e-5)


def test_one_token_tells_no_size():
    (found,) = removals(Bigram(), PUSH, [1.0], hand([[0, 1]], [[1, 0]]))
    assert found == Removal(pytest.approx(0.5 * math.log(1.5) + 0.5 * math.log(6)), -math.inf)


def test_the_limit_by_hand():
    retain = {"fr": hand([[1, 2]], [[0, 1]]), "en": hand([[0, 0]], [[0, 1]])}
    found = find_limit(Bigram(), PUSH, retain, aim(retain=("fr", "en"), tolerance=KL_1))
    assert 1 / 1.02 <= found.size <= 1.0001
    assert found.damage["fr"] == pytest.approx(0.0, abs=1e-7)
    assert KL_1 / 1.05 < found.damage["en"] <= KL_1 * 1.0001
    assert found.bounded


def test_a_size_over_the_bar_of_one_domain_is_not_asked_of_the_others(monkeypatch):
    retain, asked = {name: RETAIN["en"] for name in ("fr", "es", "en")}, []

    def damage(model, edit, sizes, held, domain):
        asked.append((domain, *sizes))
        return torch.tensor(sizes) * {"fr": 0.0, "es": 0.2, "en": 0.5}[domain]

    monkeypatch.setattr("rankone.edits.fitting.size._damage", damage)
    found = find_limit(Bigram(), PUSH, retain, aim(retain=tuple(retain), tolerance=1.0))
    assert 2 / 1.02 <= found.size <= 2
    assert found.damage == pytest.approx({"fr": 0.0, "es": 0.2 * found.size, "en": 0.5 * found.size})
    over = [domain for domain, size in asked if size > 2]
    assert set(over[1:]) <= {"en"}
    assert len(asked) == len(set(asked))


def test_a_domain_that_is_not_a_number_ends_the_size(monkeypatch):
    retain = {name: RETAIN["en"] for name in ("fr", "en")}
    values = {"fr": lambda size: 0.1 * size, "en": lambda size: math.nan if size > 3 else 0.0}
    monkeypatch.setattr(
        "rankone.edits.fitting.size._damage",
        lambda model, edit, sizes, held, domain: torch.tensor([values[domain](s) for s in sizes]),
    )
    found = find_limit(Bigram(), PUSH, retain, aim(retain=("fr", "en"), tolerance=1.0))
    assert 3 / 1.02 <= found.size <= 3
    assert found.damage["en"] == 0.0


def aim(**changes):
    return Aim(**{"forget": "de", "retain": ("en",), "chance": math.log(3), "tolerance": KL_2, **changes})


RETAIN = {"en": hand([[0, 0]], [[0, 1]])}


def test_each_domain_has_its_own_tolerance():
    """Both domains have the KL of KL_1 at s = 1 and KL_2 at s = 2; the tighter one ends the edit."""
    retain = {"en": RETAIN["en"], "about": RETAIN["en"]}
    wide = aim(retain=("en", "about"), tolerance=KL_1, tolerances={"about": KL_2})
    assert find_limit(Bigram(), PUSH, retain, wide).size == pytest.approx(1.0, rel=0.02)
    tight = aim(retain=("en", "about"), tolerance=KL_2, tolerances={"about": KL_1})
    assert find_limit(Bigram(), PUSH, retain, tight).size == pytest.approx(1.0, rel=0.02)
    assert find_limit(Bigram(), PUSH, RETAIN, wide.model_copy(update={"tolerance": KL_2})).size > 1.9


@pytest.mark.parametrize("order", [("en", "fr"), ("fr", "en")])
def test_a_text_that_comes_back_below_its_bar_ends_the_edit_where_it_first_crossed(monkeypatch, order):
    """French is over its bar between .2 and .6 alone, English from 3.87 on; which one stands first says nothing."""
    curves = {"en": lambda s: 0.001 * s * s, "fr": lambda s: 0.02 if 0.2 < s < 0.6 else 0.001}

    def drawn(model, edit, sizes, held, domain):
        return torch.tensor([curves[domain](size) for size in sizes])

    monkeypatch.setattr(module, "_damage", drawn)
    retain = {domain: RETAIN["en"] for domain in order}
    assert find_limit(Bigram(), PUSH, retain, aim(retain=order, tolerance=0.015)).size <= 0.2


def test_text_held_for_its_rise_is_read_once_without_the_edit(monkeypatch):
    held = Held(Bigram(), PUSH.sites, RETAIN, "rise")
    sizes, surprise = [], module._surprise

    def counting(model, edit, asked, held, domain):
        sizes.extend(asked)
        return surprise(model, edit, asked, held, domain)

    monkeypatch.setattr(module, "_surprise", counting)
    once, again = (damages(Bigram(), PUSH, [1.0], held) for _ in range(2))
    assert sizes == [1.0, 0.0, 1.0]
    torch.testing.assert_close(once, again)


def test_held_text_can_be_other_for_some_domains():
    """The rest is shared, and what was held before stays as it was."""
    few = {"en": hand([[0, 1]], [[0, 1]]), "fr": hand([[1, 2]], [[0, 1]])}
    held = Held(Bigram(), PUSH.sites, few, "rise")
    before = damages(Bigram(), PUSH, [1.0], held)
    more = held.with_more({"en": hand([[0, 0, 1]], [[0, 1, 1]])})
    assert more.texts["fr"] is held.texts["fr"]
    expected = torch.tensor([[(math.log(1.5) - math.log(4 / 3)) / 2], [0.0]], dtype=torch.float64)
    torch.testing.assert_close(damages(Bigram(), PUSH, [1.0], more), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(damages(Bigram(), PUSH, [1.0], held), before)
    assert float(before[0, 0]) == pytest.approx(math.log(1.5), rel=1e-5)


def test_forget_text_that_can_tell_stops_the_edit_before_the_limit():
    """At eight like positions the interval has no width: the smallest size with CE ≥ the target."""
    forget = hand([[0] * 8], [[1] * 8])
    target = 0.5 * math.log(1.5) + 0.5 * math.log(6)  # at s = 1
    found = size_edit(Bigram(), PUSH, forget, RETAIN, aim(cap=target / math.log(3)))
    assert found.reached
    assert 0.999 < found.size < 1.021
    assert found.removal.mean >= target - 1e-6
    assert found.worst == pytest.approx(KL_1, rel=0.05)
    assert found.limit.size == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize(
    ("forget", "cap"),
    [
        (hand([[0, 1]], [[1, 0]]), 1.0),  # one token tells nothing
        (hand([[0, 0, 1, 1]], [[1] * 4]), 0.9),  # two at .87 nats and two at .64 are no interval above .99
        (hand([[0] * 8], [[1] * 8]), 3.0),  # never so far within the tolerance
    ],
)
def test_where_it_cannot_retained_text_decides(forget, cap):
    found = size_edit(Bigram(), PUSH, forget, RETAIN, aim(cap=cap))
    assert not found.reached
    assert found.size == found.limit.size == pytest.approx(2.0, rel=0.02)
    assert found.damage == found.limit.damage


def test_an_edit_without_damage_is_not_bounded():
    found = find_limit(Bigram(), PUSH, {"fr": hand([[1, 2]], [[0, 1]])}, aim(retain=("fr",)))
    assert not found.bounded
    assert found.size >= LARGEST


def test_the_stacked_forward_is_the_edited_model():
    """Damage and removal at every size equal those of the model with the scaled edit in its weights."""
    model = simple_mlp()
    before = snapshot(model)
    edit = random_edit(model, {"h.0.attn.v_proj": 2, "h.1.mlp.*": 1}, size=0.3)
    text = Blocks(probe(5, 9), torch.ones(5, 9, dtype=torch.bool))
    sizes = [0.5, 1.0, 3.0]
    found, told = damages(model, edit, sizes, {"en": text})[0], removals(model, edit, sizes, text)
    assert same(model, before)
    base = model(text.ids).logits.log_softmax(-1).detach()
    for i, size in enumerate(sizes):
        with edit.scale(size).applied(model), torch.no_grad():
            edited = model(text.ids).logits.log_softmax(-1)
        kl = (base.exp() * (base - edited)).sum(-1).mean()
        assert float(found[i]) == pytest.approx(float(kl), rel=1e-4)
        assert told[i].mean == pytest.approx(float(-(base.exp() * edited).sum(-1).mean()), rel=1e-5)


@pytest.mark.parametrize(("at_once", "rows"), [(1, [2] * 5), (9 * 2 * 2, [4, 4, 2]), (1 << 25, [10])])
def test_the_rows_at_once_change_nothing(at_once, rows, monkeypatch):
    model, text = simple_mlp(), Blocks(probe(5, 9), torch.ones(5, 9, dtype=torch.bool))
    edit = random_edit(model, {"h.1.mlp.*": 1}, size=0.3)
    expected = damages(model, edit, [1.0, 3.0], {"en": text})
    seen = []
    hook = model.register_forward_pre_hook(
        lambda _, args, given: seen.append(len(given["input_ids"])), with_kwargs=True
    )
    monkeypatch.setattr(module, "POSITIONS_AT_ONCE", at_once)
    torch.testing.assert_close(damages(model, edit, [1.0, 3.0], {"en": text}), expected)
    hook.remove()
    # Before them the forward is tried on a few tokens, and the text prepared.
    assert seen[-len(rows) :] == rows


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("crossing", [0.3, 5.0])
def test_a_power_law_is_placed_by_few_sizes(power, crossing):
    asked = []

    def value(size):
        asked.append(size)
        return (size / crossing) ** power

    first_crossing(value)
    assert len(asked) <= 6
