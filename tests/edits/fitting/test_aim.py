"""The aim of a fit: its two sides, its bars."""

from __future__ import annotations

import math

import pytest

from rankone.core.errors import RankOneError
from rankone.edits.fitting.aim import Aim


def aim(**changes):
    return Aim.checked({"forget": "de", "retain": ("en", "fr"), "chance": 8.0, **changes}, "aim")


def test_the_target_is_a_share_of_chance():
    assert aim(cap=1.1).target == pytest.approx(8.8)
    assert aim().removed(7.85)
    assert not aim().removed(7.83)


def test_roles():
    assert [aim().role(d) for d in ("de", "en", "fr", "it")] == ["forget", "retain", "retain", "off-target"]


def test_strain_is_in_units_of_what_each_domain_may_cost():
    one = aim(tolerance=0.02, tolerances={"fr": 0.1})
    assert one.strain({"en": 0.01, "fr": 0.08}) == pytest.approx(0.8)
    assert one.strain({"en": 0.03, "fr": 0.08}) == pytest.approx(1.5)
    assert math.isnan(one.strain({"en": 0.03, "fr": math.nan}))


def test_own_text_is_of_a_domain():
    own = aim(forget="self:de")
    assert (own.domain, own.self_text, own.role("de")) == ("de", True, "forget")
    assert not aim().self_text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"retain": ()}, "retain"),
        ({"retain": ("en", "de")}, "'de' is to be forgotten and to be held"),
        ({"forget": "self:fr"}, "'fr' is to be forgotten and to be held"),
        ({"retain": ("en", "en")}, "retain names a domain twice"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerances": {"en": 0.0}}, "tolerances"),
        ({"tolerances": {"it": 0.1}}, "'it' has a tolerance and is not retained"),
    ],
)
def test_an_aim_that_is_none_is_refused(change, complaint):
    with pytest.raises(RankOneError, match=complaint):
        aim(**change)
