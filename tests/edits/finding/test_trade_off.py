"""The scan of one scale: against curves whose best α is known."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest

from rankone.edits.finding.tolerances import Tolerances
from rankone.edits.finding.trade_off import Measured, Rule, best_scale

TIGHT = Tolerances(domains={}, other=0.02)


def curve(target, damage, about=None):
    """A measure from functions of α − 1; counts its calls."""
    calls = []

    def measure(alpha):
        calls.append(alpha)
        x = alpha - 1
        return Measured(alpha, target(x), {"en": 0.0, "es": damage(x)}, None if about is None else about(x))

    return measure, calls


def test_the_best_scale_is_the_farthest_that_spares_the_rest():
    measure, _ = curve(lambda x: -0.1 * x, lambda x: 0.001 * abs(x))  # over .02 beyond 20
    best, _ = best_scale(measure, Rule(TIGHT, refine=6))
    assert best.alpha - 1 + 1e-9 >= -19.9 or best.alpha - 1 >= -20
    assert best.alpha - 1 == pytest.approx(-20, rel=0.02)
    assert best.worst_domain == "es"
    assert best.worst <= 0.02


@pytest.mark.parametrize("scale", [0.01, 1.0, 50.0])
def test_it_finds_edges_near_and_far(scale):
    measure, calls = curve(lambda x: x / scale, lambda x: 0.02 * abs(x) / scale)
    best, _ = best_scale(measure, Rule(TIGHT, refine=5))
    if scale == 0.01:  # nothing as near as that is looked at
        assert best.alpha == 1
    else:
        assert best.alpha - 1 == pytest.approx(scale, rel=0.03)
    assert len(calls) == len(set(calls)) <= 30


def test_no_more_is_wanted_than_enough_and_then_little_damage():
    measure, _ = curve(lambda x: abs(x), lambda x: 0.0001 * x * x)
    best, seen = best_scale(measure, Rule(TIGHT, enough=8.0, refine=4))
    assert 8 <= best.rise < 8.5
    assert all(abs(m.alpha - 1) <= 8.5 for m in seen)


def test_english_about_the_country_has_a_tolerance_of_its_own():
    measure, _ = curve(lambda x: -x, lambda x: 0.0, lambda x: 0.1 * abs(x))
    best, _ = best_scale(measure, Rule(Tolerances(domains={}, other=0.02, about=0.3), refine=6))
    assert best.alpha == pytest.approx(-2, rel=0.05)
    assert best.about <= 0.3


def test_where_nothing_is_allowed_the_scale_stays_one():
    for damage in (lambda x: 1.0, lambda x: math.nan):
        measure, _ = curve(lambda x: 5.0, damage)
        best, _ = best_scale(measure, Rule(TIGHT))
        assert (best.alpha, best.rise, best.others) == (1.0, 0.0, {"en": 0.0, "es": 0.0})


def test_a_part_that_harms_nothing_is_followed_to_the_end():
    measure, _ = curve(lambda x: 0.0, lambda x: 0.0)
    best, seen = best_scale(measure, Rule(TIGHT))
    assert best.rise == 0
    assert max(m.alpha for m in seen) == 513


def test_every_domain_has_its_own_tolerance():
    measure, _ = curve(lambda x: -x, lambda x: 0.01 * abs(x))
    far, _ = best_scale(measure, Rule(Tolerances(domains={"en": 0.001}, other=0.05), refine=6))
    assert far.alpha - 1 == pytest.approx(-5, rel=0.05)
    near, _ = best_scale(measure, Rule(Tolerances(domains={"es": 0.02}, other=0.05), refine=6))
    assert near.alpha - 1 == pytest.approx(-2, rel=0.05)


def test_the_scan_halves_until_it_is_allowed_and_then_comes_nearer_twice():
    """Allowed up to a distance of 3 on either side; middles are geometric."""
    measure, calls = curve(lambda x: abs(x), lambda x: 0.01 if abs(x) <= 3 else 1.0)
    best, seen = best_scale(measure, Rule(TIGHT))
    distances = [4.0, 2.0, math.sqrt(8), math.sqrt(math.sqrt(8) * 4)]
    assert calls == pytest.approx([1 - x for x in distances] + [1 + x for x in distances])
    assert [m.alpha for m in seen] == calls
    assert abs(best.alpha - 1) == pytest.approx(math.sqrt(8))


def test_a_rule_is_not_changed_under_way():
    with pytest.raises(FrozenInstanceError):
        Rule(TIGHT).start = 1.0
